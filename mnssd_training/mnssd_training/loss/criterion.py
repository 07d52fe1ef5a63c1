"""Raw heads and targets of a batch to the losses that are minimised and logged."""

from dataclasses import dataclass
from difflib import get_close_matches

from mnssd_perception.ssd import ModelSpec
from mnssd_training.config.loss import LossConfig
from mnssd_training.errors import ConfigError
from mnssd_training.loss.classification import focal_loss, softmax_loss
from mnssd_training.loss.localization import box_loss, offset_loss
import torch


@dataclass(frozen=True)
class Losses:
    """
    The parts of a loss, scalars.

    :ivar classes: of the classes, for each positive.
    :ivar boxes: of the boxes, for each positive.
    :ivar total: what is minimised.
    """

    classes: torch.Tensor
    boxes: torch.Tensor
    total: torch.Tensor


class Criterion:
    """
    The loss of an experiment.

    :param config: what is minimised.
    :param spec: the network.
    :raises ConfigError: if a class weight is for no class.
    """

    def __init__(self, config: LossConfig, spec: ModelSpec) -> None:
        self.config = config
        self.variances = spec.variances
        self.weights = _class_weights(config.class_weights, spec.class_names)

    def __call__(
        self,
        logits: torch.Tensor,
        offsets: torch.Tensor,
        target_classes: torch.Tensor,
        goal_offsets: torch.Tensor,
        priors: torch.Tensor,
        input_size: tuple[int, int],
        num_positives: torch.Tensor,
    ) -> Losses:
        """
        Compare heads with targets, in float32 whatever the heads are.

        The parts of a batch, each with the positives of all of it, add up to its loss.

        :param logits: ``(B, P, C + 1)``.
        :param offsets: ``(B, P, 4)``.
        :param goal_classes: ``(B, P)`` int64; 0 background, 1 + label, -1 left out.
        :param goal_offsets: ``(B, P, 4)`` float32.
        :param priors: ``(P, 4)`` float32 cxcywh, fractions of the input.
        :param input_size: (height, width) of the input, pixels.
        :param num_positives: scalar, of the whole batch; from :func:`count_positives`.
        :return: the parts.
        """
        with torch.autocast(logits.device.type, enabled=False):
            num = num_positives.clamp(min=1)
            classes = self._classes(logits.float(), target_classes) / num
            image, prior = (target_classes > 0).nonzero(as_tuple=True)
            found, target = offsets[image, prior].float(), goal_offsets[image, prior].float()
            boxes = self._boxes(found, target, priors, prior, input_size) / num
        return Losses(classes, boxes, classes + self.config.localization_weight * boxes)

    def _classes(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Sum the loss of the classes."""
        config = self.config
        weights = self.weights if self.weights is None else self.weights.to(logits.device)
        if config.classification == 'focal':
            return focal_loss(
                logits,
                target,
                alpha=config.focal_alpha,
                gamma=config.focal_gamma,
                smoothing=config.label_smoothing,
                weights=weights,
            )
        return softmax_loss(
            logits,
            target,
            negatives=config.neg_pos_ratio,
            min_negatives=config.min_negatives,
            smoothing=config.label_smoothing,
            weights=weights,
        )

    def _boxes(
        self,
        offsets: torch.Tensor,
        target: torch.Tensor,
        priors: torch.Tensor,
        prior: torch.Tensor,
        input_size: tuple[int, int],
    ) -> torch.Tensor:
        """Sum the loss of the boxes of positive priors."""
        if self.config.localization in ('smooth_l1', 'l1'):
            return offset_loss(
                offsets, target, self.config.localization, self.config.smooth_l1_beta
            )
        height, width = input_size
        pixels = priors[prior] * priors.new_tensor((width, height, width, height))
        return box_loss(offsets, target, pixels, self.variances, self.config.localization)


def count_positives(target_classes: torch.Tensor) -> torch.Tensor:
    """
    Count the priors that answer for objects.

    :param goal_classes: of any shape.
    :return: int64 scalar.
    """
    return (target_classes > 0).sum()


def _class_weights(by_name: dict[str, float], names: tuple[str, ...]) -> torch.Tensor | None:
    """Order the weights by column of the logits, background first; None if all are 1."""
    for name in by_name:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            words = f'; did you mean {near[0]!r}?' if near else ''
            raise ConfigError(
                f'loss.class_weights: expected names of classes ({", ".join(names)}), '
                f'got {name!r}{words}'
            )
    if not by_name:
        return None
    return torch.tensor([1.0, *(by_name.get(name, 1.0) for name in names)])
