"""
Express the raw heads of one network in the priors of another.

Clustered priors differ a little between training sets and seeds. A prior takes the outputs of the
most similar prior of the same cell, and its offsets are encoded anew, so that they stand for the
same box.
"""

from dataclasses import dataclass

from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_perception.ssd.boxes import box_iou
from mnssd_training.errors import ConfigError
import numpy as np
import torch

MIN_IOU = 0.7  # of priors that stand for the same objects


@dataclass(frozen=True)
class PriorAlignment:
    """
    Priors of another network, for each of the P priors of this one.

    :ivar index: ``(P,)`` int64, in the other network.
    :ivar scale: ``(P, 4)`` float32; offsets of this network are ``scale * offsets + shift``.
    :ivar shift: ``(P, 4)`` float32.
    """

    index: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    def apply(
        self, logits: torch.Tensor, offsets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert ``(B, Q, C + 1)`` and ``(B, Q, 4)`` of Q other priors to those of P priors."""
        return logits[:, self.index], offsets[:, self.index] * self.scale + self.shift


def align_priors(spec: ModelSpec, other: ModelSpec, device: torch.device) -> PriorAlignment:
    """
    Align the priors of another specification of the same input with those of this one.

    :raises ConfigError: if it lacks a grid, or a similar prior.
    """
    index: list[np.ndarray] = []
    shapes = [level.shape for level in other.feature_maps]
    sizes = [np.array(level.sizes) for level in other.feature_maps]
    starts = np.cumsum([0, *(h * w * len(s) for (h, w), s in zip(shapes, sizes))])
    for level in spec.feature_maps:
        if level.shape not in shapes:
            raise ConfigError(f'expected a grid of {level.shape} cells, got {shapes}')
        found, own = shapes.index(level.shape), np.array(level.sizes)
        ious = box_iou(_centred(own), _centred(sizes[found]))  # (own, other)
        if ious.max(axis=1).min() < MIN_IOU:
            worst = level.sizes[int(ious.max(axis=1).argmin())]
            raise ConfigError(
                f'expected a prior with an IoU of {MIN_IOU} with {worst} on the grid of '
                f'{level.shape}, got {other.feature_maps[found].sizes}'
            )
        cells = np.arange(level.shape[0] * level.shape[1])[:, None] * len(sizes[found])
        index.append((starts[found] + cells + ious.argmax(axis=1)).ravel())
    flat = np.concatenate(index)
    own, theirs = generate_priors(spec), generate_priors(other)[flat]
    centre, size = spec.variances
    ratio = theirs[:, 2:] / own[:, 2:]
    scale = np.concatenate(
        (ratio * other.variances[0] / centre, np.full_like(ratio, other.variances[1] / size)),
        axis=1,
    )
    moved = (theirs[:, :2] - own[:, :2]) / own[:, 2:] / centre
    shift = np.concatenate((moved, np.log(ratio) / size), axis=1)
    tensors = (torch.from_numpy(array) for array in (flat, scale, shift))
    return PriorAlignment(*(tensor.to(device) for tensor in tensors))


def _centred(sizes: np.ndarray) -> np.ndarray:
    """Make ``(N, 4)`` xyxy boxes of ``(N, 2)`` sizes around the origin."""
    return np.concatenate((-sizes / 2, sizes / 2), axis=1)
