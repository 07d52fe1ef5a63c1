"""
Compare an engine on this machine with the golden frames of its bundle.

A bundle holds images and the detections of the model in them where it was made. A network that
was damaged before it was packed, a runtime with a bug and a driver that computes nonsense all pass
every check of digests and shapes; here they fail, before the first frame in flight.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
import hashlib
from importlib.metadata import PackageNotFoundError, version
import json
from pathlib import Path
import platform

import cv2
from mnssd_perception.bundle import Bundle, GoldenFrame
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.errors import ImageError, MnssdError, SelfTestError
from mnssd_perception.files import write_atomically
from mnssd_perception.image_file import decode_image, read_image_size
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Detections
from mnssd_perception.ssd.boxes import box_iou
import numpy as np
from numpy.typing import NDArray

MAX_GOLDEN_PIXELS = 2**25  # of a golden frame: 100 MB of RGB

# The source between an image and the verdict on its detections.
PACKAGE = Path(__file__).parent
SOURCES = (
    'ssd/*.py', 'engines/*.py', 'detector.py', 'encodings.py', 'image_file.py', 'matching.py',
    'self_test.py', 'thermal.py',
)  # fmt: skip
CPU_INFO, MAPPINGS = Path('/proc/cpuinfo'), Path('/proc/self/maps')

# In the path of a library of an inference runtime or its driver. The version that a runtime tells
# stays the same when its files are replaced: by another build, a container or a driver.
RUNTIMES = ('onnxruntime', 'openvino', 'nvinfer', 'cuda', 'cudnn', 'cublas', 'nvdla', 'hailo')


MIN_COUNT = 5  # shares and means of fewer detections are those of so many, as chance decides them


@dataclass(frozen=True)
class Tolerance:
    """
    How much detections may differ from the expected ones, over all golden frames.

    :ivar margin: a detection is clear, and must have a match, if its score is above the threshold
        by this; others may come and go.
    :ivar iou: smallest IoU of two boxes that match.
    :ivar unmatched: share of the clear detections that may be missing, and of those that may be
        unexpected, 0 to 1.
    :ivar mean_score: largest mean difference of the scores of two that match.
    :ivar mean_iou: smallest mean IoU of two that match.
    """

    margin: float
    iou: float
    unmatched: float
    mean_score: float
    mean_iou: float


# By the precision of the network, the finest first. docs/detector.md lists what each accepts and
# refuses, measured with the shipped network on 224 images. Means tell more than the worst
# detection: in int8 one score in a hundred differs by 0.3 or more, but their mean over a few
# frames by 0.04 to 0.1. In fp32 some GPUs multiply with 10 bits (TF32), as coarse as fp16.
TOLERANCES = {
    'fp32': Tolerance(margin=0.05, iou=0.7, unmatched=0.0, mean_score=0.01, mean_iou=0.96),
    'fp16': Tolerance(margin=0.1, iou=0.6, unmatched=0.05, mean_score=0.01, mean_iou=0.96),
    'bf16': Tolerance(margin=0.15, iou=0.6, unmatched=0.1, mean_score=0.04, mean_iou=0.94),
    'int8': Tolerance(margin=0.2, iou=0.5, unmatched=0.2, mean_score=0.12, mean_iou=0.85),
}


@dataclass(frozen=True)
class FrameComparison:
    """
    The detections of an engine in a golden frame beside the expected ones.

    :ivar path: of the frame.
    :ivar num_expected: all expected detections, as ``num_found`` are all of the engine.
    :ivar num_clear: clear ones among the expected and among those of the engine.
    :ivar unmatched: those of the clear ones that have no match, in words, best first.
    :ivar score_differences: of each match, as are the IoUs.
    """

    path: str
    num_expected: int
    num_found: int
    num_clear: tuple[int, int]
    unmatched: tuple[tuple[str, ...], tuple[str, ...]]
    score_differences: NDArray[np.float32]
    ious: NDArray[np.float32]


def run_self_test(bundle: Bundle, engine: Engine, cache: Path | None = None) -> int:
    """
    Detect in the golden frames of a bundle and compare with the expected detections.

    :param bundle: without golden frames, nothing is tested.
    :param cache: folder that remembers the tests that were passed; None runs the test in any case.
        A folder that cannot be read or written counts as an empty one.
    :return: number of detections that the engine had to find. If it is 0, an engine that finds
        nothing passes too, and nothing is remembered.
    :raises SelfTestError: naming the frame that differs most, and how.
    """
    tolerance = choose_tolerance(engine.info.precision)
    num_clear = sum(count_clear(frame, tolerance) for frame in bundle.manifest.golden)
    identity = _identity(bundle, engine)
    path = _cache_path(identity, cache) if num_clear else None
    passed = json.dumps(identity, indent=1)
    if path is not None and _read(path) == passed:
        return num_clear
    limit = bundle.manifest.thresholds.max_detections
    comparisons = []
    for frame in bundle.manifest.golden:
        try:
            detections = _detect(bundle, engine, frame)
        except MnssdError as error:
            raise SelfTestError(bundle.path, str(engine.info), frame.path, str(error)) from error
        comparisons.append(compare_detections(frame, detections, tolerance, limit))
    if difference := find_difference(comparisons, tolerance):
        raise SelfTestError(bundle.path, str(engine.info), *difference)
    if path is not None:
        _write(path, passed)
    return num_clear


def choose_tolerance(precision: str) -> Tolerance:
    """Choose the tolerance for a precision, the coarsest of a mixed one such as ``int8+fp32``."""
    parts = precision.split('+')
    known = [tolerance for name, tolerance in TOLERANCES.items() if name in parts]
    return known[-1] if known else TOLERANCES['fp32']


def count_clear(frame: GoldenFrame, tolerance: Tolerance) -> int:
    """Count the expected detections so far above the threshold that an engine must find them."""
    return sum(score >= frame.score_threshold + tolerance.margin for score in frame.scores)


def compare_detections(
    frame: GoldenFrame, detections: Detections, tolerance: Tolerance, max_detections: int
) -> FrameComparison:
    """
    Match detections one to one with those of a golden frame, within their class.

    :param detections: under the score threshold of the frame.
    :param max_detections: limit under which both were made. If one of them has as many, lower
        scores than its lowest cannot be compared.
    """
    expected = Detections(
        np.array(frame.boxes, np.float32).reshape(-1, 4),
        np.array(frame.scores, np.float32),
        np.array(frame.labels, np.int64),
    )
    matches = match_detections(
        detections, expected.boxes, expected.labels, iou_threshold=tolerance.iou
    ).true_positives
    num_clear, unmatched = [], []
    for one, other, matched in (
        (expected, detections, matches[:, 0]),
        (detections, expected, matches[:, 1]),
    ):
        is_full = len(other) >= max_detections
        threshold = float(other.scores.min()) if is_full else frame.score_threshold
        clear = np.flatnonzero(one.scores >= threshold + tolerance.margin)
        num_clear.append(len(clear))
        unmatched.append(tuple(_describe(one, i) for i in np.setdiff1d(clear, matched)))
    one, other = matches.T
    return FrameComparison(
        frame.path,
        len(expected),
        len(detections),
        (num_clear[0], num_clear[1]),
        (unmatched[0], unmatched[1]),
        np.abs(expected.scores[one] - detections.scores[other]),
        box_iou(expected.boxes[one], detections.boxes[other]).diagonal(),
    )


def find_difference(
    comparisons: Sequence[FrameComparison], tolerance: Tolerance
) -> tuple[str, str] | None:
    """
    Find what differs by more than the tolerance over all frames.

    :return: the frame that differs most, and the difference in words; None where nothing does.
    """
    for index, adjective in enumerate(('missing', 'unexpected')):
        num_clear = sum(item.num_clear[index] for item in comparisons)
        num = sum(len(item.unmatched[index]) for item in comparisons)
        if num > tolerance.unmatched * max(num_clear, MIN_COUNT):
            worst = max(comparisons, key=lambda item: len(item.unmatched[index]))
            return worst.path, (
                f'expected {worst.num_expected} detections, got {worst.num_found}; over all '
                f'frames {num} of {num_clear} clear ones are {adjective}, the best of them here '
                f'of {worst.unmatched[index][0]}'
            )
    for name, limit, losses in (
        ('scores', tolerance.mean_score, [item.score_differences for item in comparisons]),
        ('boxes', 1 - tolerance.mean_iou, [1 - item.ious for item in comparisons]),
    ):
        num_matches = sum(map(len, losses))
        mean = float(sum(map(np.sum, losses))) / max(num_matches, MIN_COUNT)
        if mean > limit:
            worst = comparisons[int(np.argmax([np.sum(item) for item in losses]))]
            unit = 'a mean difference' if name == 'scores' else 'a mean 1 - IoU'
            return worst.path, (
                f'expected {name} with {unit} of at most {limit:.3f} over all frames, '
                f'got {mean:.3f} for {num_matches} detections'
            )
    return None


def _describe(detections: Detections, index: int) -> str:
    box = ', '.join(f'{edge:.1f}' for edge in detections.boxes[index])
    return f'class {detections.labels[index]} with score {detections.scores[index]:.2f} at ({box})'


def _detect(bundle: Bundle, engine: Engine, frame: GoldenFrame) -> Detections:
    encoded = bundle.read(frame.path)
    width, height = read_image_size(encoded, frame.path)
    if width * height > MAX_GOLDEN_PIXELS:
        raise ImageError(
            f'expected a golden frame of at most {MAX_GOLDEN_PIXELS} pixels, got {width}x{height}'
        )
    thresholds = replace(bundle.manifest.thresholds, score=frame.score_threshold)
    return Detector(engine, thresholds).detect(decode_image(encoded, frame.path))


def _identity(bundle: Bundle, engine: Engine) -> dict[str, str]:
    """
    List everything that decides what an engine detects; empty where it is unknown.

    The digest of the bundle covers its networks; name and precision of the engine say which of
    them runs.
    """
    try:
        package_version = version('mnssd_perception')
    except PackageNotFoundError:  # run from a source tree that nobody installed
        package_version = ''
    return {
        'bundle': bundle.digest,
        'mnssd': package_version,
        'source': _source_digest(PACKAGE),
        'processor': _processor(CPU_INFO),
        'kernel': platform.release(),  # with drivers
        'runtimes': _runtimes_digest(MAPPINGS),
        'numpy': np.__version__,
        'opencv': cv2.__version__,
        'build': engine.build,
        **asdict(engine.info),
    }


def _source_digest(package: Path) -> str:
    digest = hashlib.sha256()
    try:
        for path in sorted(path for pattern in SOURCES for path in package.glob(pattern)):
            digest.update(f'{path.relative_to(package)}\n'.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return ''
    return digest.hexdigest()


def _processor(cpu_info: Path) -> str:
    """List the models of the processor's cores, as Linux names them on x86 and on Arm."""
    lines = (_read(cpu_info) or '').splitlines()
    keys = ('model name', 'CPU implementer', 'CPU part')
    return '; '.join(sorted({' '.join(line.split()) for line in lines if line.startswith(keys)}))


def _runtimes_digest(mappings: Path) -> str:
    """Identify the files of the runtimes that this process has loaded by size and time."""
    lines = (line.split(maxsplit=5) for line in (_read(mappings, 1 << 24) or '').splitlines())
    paths = {Path(line[5]) for line in lines if len(line) == 6 and '.so' in line[5]}
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if any(name in str(path) for name in RUNTIMES)):
        with suppress(OSError):  # it was replaced since, so the next process has another
            status = path.stat()
            digest.update(f'{path} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _cache_path(identity: dict[str, str], cache: Path | None) -> Path | None:
    if cache is None or not (identity['mnssd'] and identity['source']):
        return None
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache / 'self_test' / f'{key}.json'


def _read(path: Path, max_chars: int = 1 << 16) -> str | None:
    """Read the beginning of a text file; None where that fails."""
    try:
        with path.open(encoding='utf-8') as file:
            return file.read(max_chars)
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a file of the cache; where that fails, the test runs again next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
