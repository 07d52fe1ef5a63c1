"""The loss of an experiment: classification plus localization of the positive priors."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mnssd_perception.ssd import ModelSpec
from mnssd_training.config.sections import LossConfig, QUALITY_LOSSES
from mnssd_training.errors import ConfigError
from mnssd_training.loss.classification import (
    focal_loss,
    quality_focal_loss,
    softmax_loss,
    varifocal_loss,
)
from mnssd_training.loss.localization import decoded_iou, iou_loss, offset_loss
import torch


@dataclass(frozen=True)
class Losses:
    """Scalars, divided by the number of positive priors; ``total`` is minimised."""

    classes: torch.Tensor
    boxes: torch.Tensor
    total: torch.Tensor


class Criterion:
    """
    Computes the loss of an experiment.

    :raises ConfigError: if a class weight names a class that the model does not have.
    """

    def __init__(self, config: LossConfig, spec: ModelSpec) -> None:
        self._config = config
        self._variances = spec.variances
        for name in config.class_weights:
            if name not in spec.class_names:
                close = get_close_matches(name, spec.class_names, n=1)
                hint = f'; did you mean {close[0]!r}?' if close else ''
                raise ConfigError(
                    f'loss.class_weights: expected names of classes '
                    f'({", ".join(spec.class_names)}), got {name!r}{hint}'
                )
        weights = [1.0, *(config.class_weights.get(name, 1.0) for name in spec.class_names)]
        self._class_weights = torch.tensor(weights) if config.class_weights else None

    def __call__(
        self,
        logits: torch.Tensor,
        offsets: torch.Tensor,
        target_classes: torch.Tensor,
        target_offsets: torch.Tensor,
        priors: torch.Tensor,
        input_size: tuple[int, int],
        num_positives: torch.Tensor,
        quality: torch.Tensor | None = None,
    ) -> Losses:
        """
        Compare raw heads with targets, in float32 whatever the heads are.

        The losses of the parts of a batch add up to the loss of the batch.

        :param logits: ``(B, P, C + 1)``.
        :param offsets: ``(B, P, 4)``; so are the targets.
        :param target_classes: ``(B, P)`` int64; 0 background, 1 + label, -1 ignored.
        :param priors: ``(P, 4)`` float32 cxcywh, fractions of the input.
        :param input_size: (height, width) of the input, pixels.
        :param num_positives: scalar, of the whole batch; from :func:`count_positives`, or the sum
            of qualities.
        :param quality: ``(B, P)`` float32 of positives, which weights their localization too; None
            for the IoU of their boxes.
        """
        config, (height, width) = self._config, input_size
        with torch.autocast(logits.device.type, enabled=False):
            num = num_positives.clamp(min=1)
            image, prior = (target_classes > 0).nonzero(as_tuple=True)
            predicted, target = offsets[image, prior].float(), target_offsets[image, prior].float()
            pixels = priors[prior] * priors.new_tensor((width, height, width, height))
            if config.localization in ('smooth_l1', 'l1'):
                loss = offset_loss(predicted, target, config.localization, config.smooth_l1_beta)
            else:
                loss = iou_loss(predicted, target, pixels, self._variances, config.localization)
            if quality is not None:
                loss = loss * quality[image, prior]
            elif config.classification in QUALITY_LOSSES:
                # Both papers also weight the localization loss, by scores or IoUs. Here it has no
                # weight: a box that misses a small object would get no gradient at all.
                quality = torch.zeros_like(target_classes, dtype=torch.float32)
                quality[image, prior] = decoded_iou(
                    predicted.detach(), target, pixels, self._variances
                )
            boxes = loss.sum() / num
            classes = self._classification_loss(logits.float(), target_classes, quality) / num
        return Losses(classes, boxes, classes + config.localization_weight * boxes)

    def _classification_loss(
        self, logits: torch.Tensor, target: torch.Tensor, quality: torch.Tensor | None
    ) -> torch.Tensor:
        config, weights = self._config, self._class_weights
        if weights is not None:
            weights = weights.to(logits.device)
        alpha, gamma = config.focal_alpha, config.focal_gamma
        if quality is not None:
            if config.classification == 'varifocal':
                return varifocal_loss(
                    logits, target, quality, alpha=alpha, gamma=gamma, weights=weights
                )
            return quality_focal_loss(logits, target, quality, gamma=gamma, weights=weights)
        shared: dict[str, Any] = {'label_smoothing': config.label_smoothing, 'weights': weights}
        if config.classification == 'focal':
            return focal_loss(logits, target, alpha=alpha, gamma=gamma, **shared)
        ratio, least = config.neg_pos_ratio, config.min_negatives
        return softmax_loss(logits, target, neg_pos_ratio=ratio, min_negatives=least, **shared)


def count_positives(target_classes: torch.Tensor) -> torch.Tensor:
    """Count the priors that are matched to objects, as an int64 scalar."""
    return (target_classes > 0).sum()
