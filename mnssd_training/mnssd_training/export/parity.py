"""Compare the raw heads of an exported network with those of the trained one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mnssd_perception.engines import Engine
from mnssd_training.errors import ExportError
import numpy as np
from numpy.typing import NDArray

Precision = Literal['fp32', 'fp16', 'int8']

# Largest difference of a head from PyTorch. ONNX Runtime differs by 1e-5 in float32. INT8 shifts
# single values by more than a class score spans, so there the mean counts.
MAX_DIFFERENCE: Mapping[Precision, float] = {'fp32': 1e-2, 'fp16': 0.25, 'int8': np.inf}
MAX_MEAN_DIFFERENCE: Mapping[Precision, float] = {'fp32': 1e-3, 'fp16': 1e-2, 'int8': 0.5}


@dataclass(frozen=True)
class HeadDifferences:
    """
    Differences of raw heads from those of PyTorch over all images.

    Logits count relative to the background's, since only that decides the scores.
    """

    num_images: int
    logits: float  # largest
    offsets: float
    mean_logits: float
    mean_offsets: float

    def exceeding(self, precision: Precision) -> list[str]:
        """Say which differences are larger than a network of a precision may have."""
        limits = (MAX_DIFFERENCE[precision], MAX_MEAN_DIFFERENCE[precision])
        values = {
            'logits': (self.logits, self.mean_logits),
            'offsets': (self.offsets, self.mean_offsets),
        }
        return [
            f'expected {name} within {limits[0]:g} of PyTorch and {limits[1]:g} on average in '
            f'{precision}, got {largest:.3g} and {mean:.3g}'
            for name, (largest, mean) in values.items()
            if not (largest <= limits[0] and mean <= limits[1])
        ]


def compare_heads(
    reference: Engine, engine: Engine, images: Iterable[NDArray[np.uint8]]
) -> HeadDifferences:
    """
    Compare the raw heads of two engines.

    :param images: network inputs, ``(H, W, 3)`` uint8; at least one.
    :raises EngineError: if an engine fails or computes values that are not finite.
    """
    rows = []
    for image in images:
        expected, received = reference.infer(image), engine.infer(image)
        logits = np.abs(_margins(expected.logits) - _margins(received.logits))
        offsets = np.abs(expected.offsets - received.offsets)
        rows.append((logits.max(), offsets.max(), logits.mean(), offsets.mean()))
    if not rows:
        raise ExportError('expected at least one image to compare on, got none')
    table = np.array(rows, np.float64)
    largest, mean = table.max(axis=0), table.mean(axis=0)
    return HeadDifferences(
        len(rows), float(largest[0]), float(largest[1]), float(mean[2]), float(mean[3])
    )


def _margins(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the logits of the classes relative to that of the background, ``(P, C)``."""
    return logits[:, 1:] - logits[:, :1]
