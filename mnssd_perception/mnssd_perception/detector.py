"""Images to detections: resize, infer, post-process."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import Engine
from mnssd_perception.errors import ImageError, SettingsError
from mnssd_perception.ssd import (
    Detections,
    postprocess,
    resize_frame,
    resize_transform,
    Thresholds,
)
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StageTimings:
    """
    How long one image took, seconds.

    :ivar resize: frame to network input.
    :ivar infer: the engine.
    :ivar postprocess: raw heads to detections.
    """

    resize: float
    infer: float
    postprocess: float

    @property
    def total(self) -> float:
        """Add the stages."""
        return self.resize + self.infer + self.postprocess


class Detector:
    """
    Finds objects in images with one engine. Not for use by two threads at once.

    :param bundle: tells the specification of the network.
    :param engine: runs it.
    :param thresholds: which detections to report; None for the thresholds of the bundle.
    :param class_filter: names of the classes to report; empty for all.
    :raises SettingsError: if the filter names a class that the model does not know.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        thresholds: Thresholds | None = None,
        class_filter: Sequence[str] = (),
    ) -> None:
        self._spec = bundle.manifest.spec
        self._engine = engine
        self._buffer = np.empty((*self._spec.input_size, 3), np.uint8)
        self.configure(thresholds or bundle.manifest.thresholds, class_filter)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels."""
        return self._spec.class_names

    @property
    def thresholds(self) -> Thresholds:
        """Which detections are reported."""
        return self._selection[0]

    def configure(self, thresholds: Thresholds, class_filter: Sequence[str] = ()) -> None:
        """
        Change what is reported, from the next image on; any thread may do so.

        :param thresholds: which detections to report.
        :param class_filter: names of the classes to report; empty for all.
        :raises SettingsError: if the filter names a class that the model does not know.
        """
        # One assignment: an image is never processed with half of a change.
        self._selection = thresholds, find_labels(self.class_names, class_filter)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """
        Find the objects in an image.

        :param image: ``(H, W, 3)`` uint8 RGB, any size; it is not changed.
        :return: detections in pixels of the image.
        :raises ImageError: if it is not such an array.
        :raises EngineError: if the engine fails.
        """
        return self.detect_timed(image)[0]

    def detect_timed(self, image: NDArray[np.uint8]) -> tuple[Detections, StageTimings]:
        """
        Find the objects in an image and tell how long each stage took.

        :param image: ``(H, W, 3)`` uint8 RGB, any size; it is not changed.
        :return: detections in pixels of the image, and the timings.
        :raises ImageError: if it is not such an array.
        :raises EngineError: if the engine fails.
        """
        _check(image)
        thresholds, labels = self._selection
        started = perf_counter()
        plan = resize_transform(image.shape[:2], self._spec.input_size, self._spec.resize)
        resize_frame(image, plan, self._buffer)
        resized = perf_counter()
        heads = self._engine.infer(self._buffer)
        inferred = perf_counter()
        detections = postprocess(heads, self._spec, plan, thresholds, labels)
        done = perf_counter()
        return detections, StageTimings(resized - started, inferred - resized, done - inferred)


def find_labels(class_names: Sequence[str], class_filter: Sequence[str]) -> tuple[int, ...] | None:
    """
    Look up the labels of classes.

    :param class_names: of the model, in the order of the labels.
    :param class_filter: names of the wanted classes.
    :return: their labels; None where the filter is empty, which stands for all classes.
    :raises SettingsError: if a name is unknown.
    """
    if isinstance(class_filter, str):  # would be read letter by letter
        raise SettingsError(f'class_filter: expected a sequence of names, got {class_filter!r}')
    unknown = [name for name in class_filter if name not in class_names]
    if unknown:
        raise SettingsError(
            f'class_filter: {unknown[0]!r} is no class of this model; '
            f'known are {", ".join(class_names)}'
        )
    return tuple(class_names.index(name) for name in class_filter) or None


def _check(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, 'dtype', type(image).__name__)
        raise ImageError(f'expected an array of uint8, got {kind}')
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f'expected an image of shape (height, width, 3), got {image.shape}')
    if not all(1 <= side <= MAX_IMAGE_SIDE for side in image.shape[:2]):
        raise ImageError(f'expected sides of 1 to {MAX_IMAGE_SIDE} pixels, got {image.shape[:2]}')
