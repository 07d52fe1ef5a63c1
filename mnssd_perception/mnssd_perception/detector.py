"""Detect objects in images: resize, infer, post-process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

from mnssd_perception.engines import Engine
from mnssd_perception.errors import ImageError, SettingsError
from mnssd_perception.ssd import (
    Detections,
    ModelSpec,
    postprocess,
    RawHeads,
    resize_frame,
    resize_transform,
    ResizeTransform,
    Thresholds,
)
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StageTimings:
    """How long each stage took for one image, seconds."""

    resize: float
    infer: float
    postprocess: float

    @property
    def total(self) -> float:
        """Add the stages."""
        return self.resize + self.infer + self.postprocess


class Detector:
    """
    Detects objects in images with one engine. Not for use by two threads at once.

    :param thresholds: which detections to report.
    :param class_filter: names of the classes to report; empty for all.
    :raises SettingsError: if the filter names a class that the model does not have.
    :ivar engine: runs the network.
    """

    def __init__(
        self,
        engine: Engine,
        thresholds: Thresholds = Thresholds(),
        class_filter: Sequence[str] = (),
    ) -> None:
        self.engine = engine
        self._buffer = np.empty((*self.spec.input_size, 3), np.uint8)
        self.configure(thresholds, class_filter)

    @property
    def spec(self) -> ModelSpec:
        """What the network takes and returns."""
        return self.engine.spec

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels."""
        return self.spec.class_names

    @property
    def thresholds(self) -> Thresholds:
        """Which detections are reported."""
        return self._selection[0]

    def configure(self, thresholds: Thresholds, class_filter: Sequence[str] = ()) -> None:
        """
        Change what is reported, from the next image on; any thread may do so.

        :param class_filter: names of the classes to report; empty for all.
        :raises SettingsError: if the filter names a class that the model does not have.
        """
        # One assignment: an image is never processed with half of a change.
        self._selection = thresholds, find_labels(self.class_names, class_filter)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """
        Detect the objects in an image.

        :param image: ``(H, W, 3)`` uint8 RGB, any size; it is not changed.
        :return: detections in pixels of the image.
        :raises ImageError: if it is not such an array.
        :raises EngineError: if the engine fails.
        """
        return self._detect(image)[0]

    def detect_timed(self, image: NDArray[np.uint8]) -> tuple[Detections, StageTimings]:
        """Detect the objects in an image, see :meth:`detect`, and time each stage."""
        return self._detect(image)[:2]

    def detect_with_heads(self, image: NDArray[np.uint8]) -> tuple[Detections, RawHeads]:
        """Return the raw heads, too, see :meth:`detect`; they are valid until the next call."""
        detections, _, heads = self._detect(image)
        return detections, heads

    def detect_batch(self, images: Iterable[NDArray[np.uint8]]) -> list[Detections]:
        """
        Detect the objects in several images, see :meth:`detect`; the network runs once.

        :param images: they are read one after the other, and not kept.
        :return: the detections of each image.
        """
        return self.detect_batch_timed(images)[0]

    def detect_batch_timed(
        self, images: Iterable[NDArray[np.uint8]]
    ) -> tuple[list[Detections], StageTimings]:
        """Detect the objects in several images and time each stage for all of them."""
        thresholds, labels = self._selection
        started = perf_counter()
        transforms, inputs = [], []
        for image in images:
            transforms.append(self._transform(image))
            inputs.append(resize_frame(image, transforms[-1]))
        stacked = np.stack(inputs) if inputs else np.empty((0, *self.spec.input_size, 3), np.uint8)
        resized = perf_counter()
        heads = self.engine.infer_batch(stacked)
        inferred = perf_counter()
        detections = [
            postprocess(image_heads, self.spec, transform, thresholds, labels)
            for image_heads, transform in zip(heads, transforms)
        ]
        done = perf_counter()
        return detections, StageTimings(resized - started, inferred - resized, done - inferred)

    def _detect(self, image: NDArray[np.uint8]) -> tuple[Detections, StageTimings, RawHeads]:
        thresholds, labels = self._selection
        started = perf_counter()
        transform = self._transform(image)
        resize_frame(image, transform, self._buffer)
        resized = perf_counter()
        heads = self.engine.infer(self._buffer)
        inferred = perf_counter()
        detections = postprocess(heads, self.spec, transform, thresholds, labels)
        done = perf_counter()
        timings = StageTimings(resized - started, inferred - resized, done - inferred)
        return detections, timings, heads

    def _transform(self, image: NDArray[np.uint8]) -> ResizeTransform:
        """Check an image and plan how it becomes the network input."""
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            got = getattr(image, 'dtype', type(image).__name__)
            raise ImageError(f'expected an array of uint8, got {got}')
        if image.ndim != 3 or image.shape[2] != 3:
            raise ImageError(f'expected an image of shape (height, width, 3), got {image.shape}')
        height, width, _ = image.shape
        if not (1 <= height <= MAX_IMAGE_SIDE and 1 <= width <= MAX_IMAGE_SIDE):
            raise ImageError(
                f'expected sides of 1 to {MAX_IMAGE_SIDE} pixels, got {(height, width)}'
            )
        return resize_transform((height, width), self.spec.input_size, self.spec.resize)


def find_labels(class_names: Sequence[str], class_filter: Sequence[str]) -> tuple[int, ...] | None:
    """
    Look up the labels of the classes in a filter.

    :return: None where the filter is empty, which stands for all classes.
    :raises SettingsError: if a name is not among the class names.
    """
    if isinstance(class_filter, str):  # would be read letter by letter
        raise SettingsError(f'class_filter: expected a sequence of names, got {class_filter!r}')
    unknown = [name for name in class_filter if name not in class_names]
    if unknown:
        raise SettingsError(
            f'class_filter: {unknown[0]!r} is not a class of this model; '
            f'its classes are {", ".join(class_names)}'
        )
    return tuple(class_names.index(name) for name in class_filter) or None
