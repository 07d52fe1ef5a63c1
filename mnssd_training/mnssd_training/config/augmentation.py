"""Keys of ``augmentation``: what may happen to an image in training."""

from typing import Annotated

from mnssd_training.config.section import Section
from pydantic import Field, model_validator, NonNegativeFloat, PositiveFloat

Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentationConfig(Section):
    """What may happen to an image in training; every draw is seeded by its sample."""

    zoom_out: Probability = 0.5
    """Probability of a larger canvas around the image."""
    zoom_out_max_scale: Annotated[float, Field(ge=1)] = 4.0
    """Largest side of that canvas, in sides of the image."""
    iou_crop: Probability = 0.8
    """Probability of an IoU crop (Liu et al., SSD, section 2.2)."""
    iou_crop_min_scale: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Smallest side of a crop, in sides of the image."""
    iou_crop_min_ious: tuple[NonNegativeFloat, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    """A crop must overlap some object by one of these; from 1 on there is no crop."""
    large_scale_jitter: Probability = 0.0
    """Probability of large-scale jitter with a fixed crop, instead of zoom-out and IoU crop."""
    large_scale_jitter_range: tuple[PositiveFloat, PositiveFloat] = (0.1, 2.0)
    """Smallest and largest scale of the jitter; 1 is the scale at which the drone sees."""
    large_scale_jitter_max_aspect: Annotated[float, Field(ge=1)] = 1.0
    """Largest stretch of one side beside the other in the jitter."""
    mosaic: Probability = 0.0
    """Probability of four images in one (Bochkovskiy et al., YOLOv4, 2020)."""
    mixup: Probability = 0.0
    """Probability of a blend with another image (Zhang et al., mixup, ICLR 2018)."""
    horizontal_flip: Probability = 0.5
    """Probability."""
    vertical_flip: Probability = 0.0
    """Probability; 0.5 suits a camera that looks down."""
    brightness: Probability = 0.125
    """Largest change, as a factor."""
    contrast: Probability = 0.5
    """Largest change, as a factor."""
    saturation: Probability = 0.5
    """Largest change, as a factor; 0 for grey cameras."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Largest shift, in turns; 0 for grey cameras."""
    invert: Probability = 0.0
    """Probability of a negative: what is warmer than the ground by night is cooler by day."""
    equalize: Probability = 0.0
    """Probability of stretching the contrast by the histogram."""
    min_box_size: Annotated[float, Field(ge=0)] = 1.0
    """A box with a side under this many pixels of the network input becomes an ignore region."""
    min_visibility: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Part of an object that must stay in view for it to stay an object."""

    @model_validator(mode='after')
    def _fit(self) -> 'AugmentationConfig':
        """Refuse a reversed range."""
        low, high = self.large_scale_jitter_range
        if low > high:
            raise ValueError(
                f'large_scale_jitter_range: expected (smallest, largest), got ({low}, {high})'
            )
        return self
