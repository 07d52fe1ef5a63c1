"""
Encode boxes as offsets from priors, and decode them.

Offsets are relative to a prior: centre offsets in prior sizes, sizes as logarithms of ratios, each
divided by its variance (Liu et al., ECCV 2016, equation 2).
"""

from mnssd_perception.ssd.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
import numpy as np
from numpy.typing import NDArray

# A network that diverged must not overflow: exp of this is 1000 prior sizes.
MAX_LOG_RATIO = float(np.log(1000.0))


def encode_boxes(
    boxes: NDArray[np.floating],
    priors: NDArray[np.floating],
    variances: tuple[float, float],
) -> NDArray[np.float32]:
    """
    Encode boxes.

    :param boxes: ``(N, 4)`` xyxy with sides greater than 0, unit of the priors.
    :param priors: ``(N, 4)`` cxcywh.
    :param variances: (centre, size).
    :return: ``(N, 4)`` float32 offsets.
    """
    target = xyxy_to_cxcywh(boxes)
    centre = (target[:, :2] - priors[:, :2]) / priors[:, 2:] / variances[0]
    size = np.log(target[:, 2:] / priors[:, 2:]) / variances[1]
    return np.concatenate((centre, size), axis=1).astype(np.float32)


def decode_boxes(
    offsets: NDArray[np.float32],
    priors: NDArray[np.float32],
    variances: tuple[float, float],
) -> NDArray[np.float32]:
    """
    Decode predicted offsets.

    :param offsets: ``(N, 4)`` float32.
    :param priors: ``(N, 4)`` float32, cxcywh.
    :param variances: (centre, size).
    :return: ``(N, 4)`` float32 xyxy, unit of the priors, not clipped.
    """
    box = np.empty_like(offsets)
    box[:, :2] = priors[:, :2] + offsets[:, :2] * variances[0] * priors[:, 2:]
    box[:, 2:] = priors[:, 2:] * np.exp(np.minimum(offsets[:, 2:] * variances[1], MAX_LOG_RATIO))
    return cxcywh_to_xyxy(box)
