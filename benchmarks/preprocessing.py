"""
Time the preprocessing of a frame, and score a model behind other resize methods.

Frames of large sensors are simulated from annotated images: enlarged, so that their pixels hold no
more detail than the original, with independent noise in each pixel of the simulated sensor.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
import itertools
from pathlib import Path
from time import thread_time
from types import SimpleNamespace
from typing import Any

import cv2
from mnssd_perception.bundle import Bundle
from mnssd_perception.detector import Detector
from mnssd_perception.encodings import convert
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import Detections, resize_frame, resize_image, resize_transform
from mnssd_training.config import SourceConfig
from mnssd_training.data import Sample
from mnssd_training.data.sample import load_image
from mnssd_training.data.sources import read_samples
from mnssd_training.evaluation import evaluate_detections, SCORING
import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import measure

FRAMES = ((720, 1280), (1080, 1920), (2160, 3840))  # (height, width)
INPUTS = ((512, 640), (320, 320))
ENCODINGS = {'bgr8': ((3,), np.uint8), 'mono8': ((), np.uint8), 'mono16': ((), np.uint16)}

ENLARGEMENTS = (2.5, 3.0, 6.0)  # at 2, all methods average the same 2 x 2 pixels
NOISE = (0.0, 12.0)  # standard deviation, grey levels of 255
NUM_IMAGES = 60

Resize = Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]


def resize_by_opencv(
    image: NDArray[np.uint8], size: tuple[int, int], method: int | None = None
) -> NDArray[np.uint8]:
    """
    Resize in one call of OpenCV.

    :param size: (height, width).
    :param method: interpolation; None for the rule of mnssd 0.1: INTER_AREA when shrinking to a
        third or less, otherwise INTER_LINEAR.
    """
    if method is None:
        shrink = min(source / target for source, target in zip(image.shape, size))
        method = cv2.INTER_AREA if shrink >= 3 else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method)


RESIZE_METHODS: dict[str, Resize] = {
    'mnssd 0.1': resize_by_opencv,
    'mnssd': resize_image,
    'INTER_LINEAR': partial(resize_by_opencv, method=cv2.INTER_LINEAR),
    'INTER_AREA': partial(resize_by_opencv, method=cv2.INTER_AREA),
}


def bench_preprocessing(bundle: Bundle, root: Path | None, rounds: int) -> None:
    """
    Print times, and the average precision behind each resize method.

    :param root: dataset in VOC layout with the classes of the bundle; None for times only.
    """
    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    print(f'preprocessing with OpenCV {cv2.__version__}: medians of {rounds} rounds, CPU time')
    for frame in FRAMES:
        _time_conversions(frame, generator, rounds)
        _time_resizing(frame, generator, rounds)
    if root is not None:
        _score(bundle, root)


def _time_conversions(frame: tuple[int, int], generator: Any, rounds: int) -> None:
    """Time the conversion of messages to RGB, and the thermal stretch of mnssd 0.1."""
    functions: dict[str, Callable[[], object]] = {}
    for encoding, (channels, dtype) in ENCODINGS.items():
        pixels = generator.integers(0, 256, (*frame, *channels)).astype(dtype)
        message: Any = SimpleNamespace(
            height=frame[0],
            width=frame[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels[0].nbytes,
            data=pixels.tobytes(),
        )
        functions[encoding] = partial(convert, message)
        if encoding == 'mono16':
            functions['mono16, mnssd 0.1'] = partial(stretch_float, pixels)
    for name, timing in measure(functions, rounds, thread_time).items():
        print(f'  {frame[1]}x{frame[0]} {name + " to RGB":<40}{timing}')


def _time_resizing(frame: tuple[int, int], generator: Any, rounds: int) -> None:
    """Time the resize of RGB images to network inputs."""
    image = generator.integers(0, 256, (*frame, 3), np.uint8)
    for size in INPUTS:
        for mode in ('stretch', 'letterbox'):
            transform = resize_transform(frame, size, mode)
            functions: dict[str, Callable[[], object]] = {
                name: partial(method, image, transform.content_size)
                for name, method in RESIZE_METHODS.items()
            }
            functions['mnssd'] = partial(resize_frame, image, transform)
            for name, timing in measure(functions, rounds, thread_time).items():
                label = f'to {size[1]}x{size[0]}, {mode}, {name}'
                print(f'  {frame[1]}x{frame[0]} {label:<40}{timing}')


def _score(bundle: Bundle, root: Path) -> None:
    """Print the average precision of a model behind each resize method."""
    names = bundle.manifest.spec.class_names
    samples = read_samples(SourceConfig(root=str(root)), 'val', names)
    num = min(NUM_IMAGES, len(samples))
    samples = [samples[i * len(samples) // num] for i in range(num)]
    print(f'AP50 on {num} images of {root}, and its mean over classes')
    with closing(open_engine(bundle)) as engine:
        detector = Detector(engine, SCORING)
        for factor, noise in itertools.product(ENLARGEMENTS, NOISE):
            size = 'x'.join(str(round(factor * side)) for side in samples[0].size[::-1])
            for name, detections in _detect(detector, samples, factor, noise).items():
                scores = evaluate_detections(samples, detections, names)
                parts = ', '.join(f'{key} {ap:.3f}' for key, ap in scores.ap50.items())
                label = f'{size}, noise {noise:g}, {name}'
                print(f'  {label:<36}{scores.map50:.3f}  ({parts})', flush=True)


def _detect(
    detector: Detector, samples: Sequence[Sample], factor: float, noise: float
) -> dict[str, list[Detections]]:
    """Detect in frames of a large sensor, resized to the size of the annotations."""
    # 'mnssd 0.1' is one of the two methods of OpenCV.
    methods = {key: method for key, method in RESIZE_METHODS.items() if key != 'mnssd 0.1'}
    detections: dict[str, list[Detections]] = {name: [] for name in methods}
    generator = np.random.default_rng(0)
    for sample in samples:
        frame = simulate_sensor(load_image(sample), factor, noise, generator)
        for name, method in methods.items():
            detections[name].append(detector.detect(method(frame, sample.size)))
    return detections


def simulate_sensor(
    image: NDArray[np.uint8], factor: float, noise: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """
    Simulate the frame of a larger sensor.

    :param image: ``(H, W, 3)`` uint8 RGB.
    :param noise: standard deviation per pixel, grey levels of 255, the same in all channels.
    :return: ``(factor * H, factor * W, 3)`` uint8 RGB.
    """
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    if not noise:
        return large
    greys = generator.standard_normal(large.shape[:2], np.float32)[..., None] * noise
    return np.clip(np.rint(large + greys), 0, 255).astype(np.uint8)


def stretch_float(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Stretch 16-bit grey levels to 8-bit RGB as mnssd 0.1 did."""
    stride = max(1, int((image.size / 65536) ** 0.5))
    samples = np.sort(image[::stride, ::stride], axis=None).astype(np.float32)
    cut = len(samples) // 1000
    low, high = samples[cut], samples[len(samples) - 1 - cut]
    stretched = np.clip((image - low) * np.float32(255 / max(high - low, 1)), 0, 255)
    return cv2.cvtColor(stretched.astype(np.uint8), cv2.COLOR_GRAY2RGB)
