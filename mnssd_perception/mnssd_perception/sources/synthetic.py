"""A synthetic camera: moving shapes on a noisy background, with their ground truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource, ignore, Report
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray

DEFAULT_RATE = 30.0  # Hz

# Least and greatest value of each option.
RANGES = {
    'width': (16, 8192), 'height': (16, 8192), 'frames': (0, 2**31 - 1), 'objects': (0, 1000),
    'seed': (0, 2**31 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class SyntheticOptions:
    """The options of a synthetic camera."""

    width: int = 640  # pixels
    height: int = 512
    frames: int = 0  # of a pass; 0 for endless
    objects: int = 6
    seed: int = 0  # of noise and motion: the same seed gives the same frames

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SourceError(
                    f'expected {name} of a synthetic source from {low} to {high}, got {value}'
                )

    @classmethod
    def parse(cls, text: str) -> 'SyntheticOptions':
        """Parse options such as ``width=1280,height=720,seed=3``, or raise SourceError."""
        options = {}
        for pair in filter(None, text.split(',')):
            name, _, value = (part.strip() for part in pair.partition('='))
            if name not in RANGES:
                raise SourceError(
                    f"unknown option '{name}' of a synthetic source; "
                    f'supported: {", ".join(RANGES)}'
                )
            if not value.isdecimal() or len(value) > 18:
                raise SourceError(
                    f"expected a whole number for '{name}' of a synthetic source, got '{value}'"
                )
            options[name] = int(value)
        return cls(**options)


class SyntheticSource(FrameSource):
    """Bright rectangles (label 0) and ellipses (label 1) that drift and bounce over grey noise."""

    def __init__(
        self,
        options: SyntheticOptions | None = None,
        *,
        rate: float | None = None,
        loop: bool = False,
        report: Report = ignore,
    ) -> None:
        super().__init__('synthetic:', rate=rate or DEFAULT_RATE, loop=loop, report=report)
        self._options = options or SyntheticOptions()

    def _play(self) -> Iterator[Frame]:
        options = self._options
        generator = np.random.default_rng(options.seed)
        size_wh = np.array([options.width, options.height], np.float64)
        noise = generator.integers(48, 80, (options.height, options.width, 3), np.uint8)
        half = generator.uniform(0.02, 0.08, (options.objects, 2)) * size_wh.min()
        span = size_wh - 2 * half
        start = generator.uniform(0, 2 * span)
        speed = generator.uniform(-0.02, 0.02, start.shape) * size_wh
        colours = generator.integers(140, 256, (options.objects, 3)).tolist()
        labels = np.arange(options.objects, dtype=np.int64) % 2
        scores = np.ones(options.objects, np.float32)
        for num in range(options.frames) if options.frames else count():
            # A straight path folded at the edges is a triangle wave.
            centres = half + span - np.abs((start + num * speed) % (2 * span) - span)
            boxes = np.hstack([np.floor(centres - half), np.ceil(centres + half)])
            ground_truth = Detections(boxes.astype(np.float32), scores, labels)
            yield Frame(_draw(noise, ground_truth, colours), str(num), ground_truth)


def _draw(
    background: NDArray[np.uint8], ground_truth: Detections, colours: list[list[int]]
) -> NDArray[np.uint8]:
    """Draw the shapes on a copy of the background; each fills its box exactly."""
    image = background.copy()
    boxes = ground_truth.boxes.astype(int).tolist()
    for (left, top, right, bottom), label, colour in zip(boxes, ground_truth.labels, colours):
        if label == 0:
            image[top:bottom, left:right] = colour
        else:
            centre = (left + right - 1) * 8, (top + bottom - 1) * 8  # sixteenths of a pixel
            axes = (right - left - 1) * 8, (bottom - top - 1) * 8
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_8, 4)
    return image
