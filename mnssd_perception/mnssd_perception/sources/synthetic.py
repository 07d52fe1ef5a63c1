"""Moving shapes on a noisy ground as a camera that knows the truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray

VIDEO_RATE = 30.0
MAX_SIDE = 8192
MAX_DIGITS = 18


@dataclass(frozen=True)
class SyntheticOptions:
    """
    What a synthetic camera shows.

    :ivar width: of the image, pixels.
    :ivar height: of the image, pixels.
    :ivar frames: how many frames a pass has; 0 for no end.
    :ivar objects: how many shapes move.
    :ivar seed: of the noise and the paths; the same seed gives the same frames.
    """

    width: int = 640
    height: int = 512
    frames: int = 0
    objects: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no image."""
        least = {'width': 16, 'height': 16, 'frames': 0, 'objects': 0, 'seed': 0}
        most = {'width': MAX_SIDE, 'height': MAX_SIDE, 'objects': 1000}
        for name, low in least.items():
            value, high = getattr(self, name), most.get(name, 2**31 - 1)
            if not low <= value <= high:
                raise SourceError(
                    f'expected {name} of a synthetic source from {low} to {high}, got {value}'
                )

    @classmethod
    def parse(cls, text: str) -> 'SyntheticOptions':
        """
        Read options as they stand behind ``synthetic:``.

        :param text: for example ``width=1280,height=720,seed=3``; may be empty.
        :return: the options.
        :raises SourceError: naming an unknown option or a value that is no whole number.
        """
        known = [field.name for field in fields(cls)]
        options = {}
        for pair in filter(None, text.split(',')):
            name, _, value = (part.strip() for part in pair.partition('='))
            if name not in known:
                raise SourceError(
                    f"unknown option '{name}' of a synthetic source; known are {', '.join(known)}"
                )
            if not value.isdecimal() or len(value) > MAX_DIGITS:
                raise SourceError(
                    f"expected a whole number for '{name}' of a synthetic source, got '{value}'"
                )
            options[name] = int(value)
        return cls(**options)


class SyntheticSource(FrameSource):
    """
    Bright rectangles (label 0) and ellipses (label 1) that drift and bounce over grey noise.

    :param options: what it shows.
    :param rate: frames a second; None for 30.
    :param loop: whether to start over at the end.
    :param report: is never called.
    """

    def __init__(
        self,
        options: SyntheticOptions | None = None,
        *,
        rate: float | None = None,
        loop: bool = False,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        super().__init__('synthetic:', rate=rate or VIDEO_RATE, loop=loop, report=report)
        self._options = options or SyntheticOptions()

    def _play(self) -> Iterator[Frame]:
        """Move the shapes step by step."""
        options = self._options
        generator = np.random.default_rng(options.seed)
        area = np.array([options.width, options.height], np.float64)
        noise = generator.integers(48, 80, (options.height, options.width, 3), np.uint8)
        half = generator.uniform(0.02, 0.08, (options.objects, 2)) * area.min()
        span = area - 2 * half
        start = generator.uniform(0, 2 * span)
        speed = generator.uniform(-0.02, 0.02, start.shape) * area
        colours = generator.integers(140, 256, (options.objects, 3)).tolist()
        labels = np.arange(options.objects, dtype=np.int64) % 2
        num = 0
        while options.frames == 0 or num < options.frames:
            # A path that folds back at the edges is a triangle wave of a straight one.
            centres = half + span - np.abs((start + num * speed) % (2 * span) - span)
            ground_truth = _boxes_around(centres, half, labels)
            yield Frame(_draw(noise, ground_truth, colours), str(num), ground_truth)
            num += 1


def _boxes_around(
    centres: NDArray[np.float64], half: NDArray[np.float64], labels: NDArray[np.int64]
) -> Detections:
    """Make the truth of a frame, on whole pixels."""
    boxes = np.hstack([np.floor(centres - half), np.ceil(centres + half)])
    return Detections(boxes.astype(np.float32), np.ones(len(boxes), np.float32), labels)


def _draw(
    ground: NDArray[np.uint8], ground_truth: Detections, colours: list[list[int]]
) -> NDArray[np.uint8]:
    """Draw the shapes on a copy of the ground; each fills its box exactly."""
    image = ground.copy()
    for box, label, colour in zip(
        ground_truth.boxes.astype(int).tolist(), ground_truth.labels, colours
    ):
        left, top, right, bottom = box
        if label == 0:
            image[top:bottom, left:right] = colour
        else:
            centre = (left + right - 1) * 8, (top + bottom - 1) * 8  # in sixteenths of a pixel
            axes = (right - left - 1) * 8, (bottom - top - 1) * 8
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_8, 4)
    return image
