"""Keys of ``loss``: what is minimised."""

from typing import Annotated, Literal

from mnssd_training.config.section import Section
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat


class LossConfig(Section):
    """What is minimised."""

    classification: Literal['softmax', 'focal'] = 'softmax'
    """``softmax`` with hard negatives, or sigmoid ``focal`` over all priors."""
    localization: Literal['smooth_l1', 'l1', 'giou', 'diou', 'ciou'] = 'smooth_l1'
    """On offsets (``smooth_l1``, ``l1``) or on decoded boxes."""
    neg_pos_ratio: NonNegativeFloat = 3.0
    """Hard negatives for each positive of an image."""
    min_negatives: NonNegativeInt = 16
    """Fewest hard negatives of an image, also of one without positives."""
    focal_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Weight of positives beside negatives (Lin et al., ICCV 2017)."""
    focal_gamma: NonNegativeFloat = 2.0
    """How much easy priors count less."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the target that is spread over all classes."""
    class_weights: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Class name to the weight of its positives; 1 for classes not named."""
    localization_weight: NonNegativeFloat = 1.0
    """Of the box loss beside the class loss."""
    smooth_l1_beta: NonNegativeFloat = 1.0
    """Where smooth L1 turns from square to straight, in units of the offsets."""
