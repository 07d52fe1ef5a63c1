"""Photographs to detections: resize, infer, post-process."""

from dataclasses import dataclass
from time import perf_counter

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import Engine
from mnssd_perception.errors import ImageError, SettingsError
from mnssd_perception.ssd import Detections, postprocess, resize_frame, resizing, Selection
import numpy as np
from numpy.typing import NDArray

__all__ = ['Detector', 'DetectorSettings', 'StageTimings']

MAX_SIDE = 32768  # pixels; OpenCV resizes no more


@dataclass(frozen=True)
class DetectorSettings:
    """
    What a detector reports; it may be changed between two images.

    :ivar score_threshold: smallest score, greater than 0 and less than 1.
    :ivar iou_threshold: largest IoU of two detections of one class, 0 to 1.
    :ivar max_detections: largest number in an image, at least 1.
    :ivar class_filter: names of the wanted classes; empty for all.
    """

    score_threshold: float = 0.35
    iou_threshold: float = 0.5
    max_detections: int = 100
    class_filter: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        names: object = self.class_filter
        if not isinstance(names, (tuple, list)):  # a name alone would be read letter by letter
            raise SettingsError(f'class_filter: expected a tuple of names, got {names!r}')
        self.selection(self.class_filter)

    def selection(self, class_names: tuple[str, ...]) -> Selection:
        """
        Say the same with labels instead of names.

        :param class_names: of the model, in the order of the labels.
        :raises SettingsError: if a value is out of range or a name is unknown.
        """
        unknown = [name for name in self.class_filter if name not in class_names]
        if unknown:
            raise SettingsError(
                f'class_filter: {unknown[0]!r} is no class of this model; '
                f'known are {", ".join(class_names)}'
            )
        labels = tuple(class_names.index(name) for name in self.class_filter) or None
        return Selection(
            self.score_threshold, self.iou_threshold, self.max_detections, labels=labels
        )


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
    :param settings: what to report; None for the thresholds of the bundle.
    :raises SettingsError: if the settings name a class that the model does not know.
    """

    def __init__(
        self, bundle: Bundle, engine: Engine, settings: DetectorSettings | None = None
    ) -> None:
        self._spec = bundle.manifest.spec
        self._engine = engine
        self._buffer = np.empty((*self._spec.input_size, 3), np.uint8)
        default = bundle.manifest.thresholds
        self.settings = settings or DetectorSettings(
            default.score, default.iou, default.max_detections
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels."""
        return self._spec.class_names

    @property
    def settings(self) -> DetectorSettings:
        """What is reported; a new value counts from the next image on."""
        return self._settings

    @settings.setter
    def settings(self, settings: DetectorSettings) -> None:
        selection = settings.selection(self._spec.class_names)
        self._settings, self._selection = settings, selection

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
        selection = self._selection
        started = perf_counter()
        plan = resizing(image.shape[:2], self._spec.input_size, self._spec.resize)
        resize_frame(image, plan, self._buffer)
        resized = perf_counter()
        heads = self._engine.infer(self._buffer)
        inferred = perf_counter()
        detections = postprocess(heads, self._spec, plan, selection)
        done = perf_counter()
        return detections, StageTimings(resized - started, inferred - resized, done - inferred)


def _check(image: NDArray[np.uint8]) -> None:
    """Refuse what is not a photograph."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, 'dtype', type(image).__name__)
        raise ImageError(f'expected an array of uint8, got {kind}')
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f'expected an image of shape (height, width, 3), got {image.shape}')
    if not all(1 <= side <= MAX_SIDE for side in image.shape[:2]):
        raise ImageError(f'expected sides of 1 to {MAX_SIDE} pixels, got {image.shape[:2]}')
