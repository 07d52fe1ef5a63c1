"""
Compare an engine on this machine with the golden frames of its bundle.

A bundle holds images and what the model finds in them where it was made. A network that was
damaged before it was packed, a runtime with a bug and a driver that computes nonsense all pass
every check of digests and shapes; here they fail, before the first frame in flight.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
import hashlib
from importlib.metadata import PackageNotFoundError, version
import json
from pathlib import Path

import cv2
from mnssd_perception.bundle import Bundle, GoldenFrame
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.errors import ImageError, MnssdError, SelfTestError
from mnssd_perception.files import write_atomically
from mnssd_perception.image_file import decode_image, read_image_size
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray

MAX_GOLDEN_PIXELS = 2**25  # of a golden frame: 100 MB of RGB

# What stands between an image and its detections, and decides whether they are the same.
PACKAGE = Path(__file__).parent
SOURCES = ('ssd/*.py', 'engines/*.py', 'detector.py', 'image_file.py', 'self_test.py')
CPU_INFO = Path('/proc/cpuinfo')


@dataclass(frozen=True)
class Tolerance:
    """
    How far detections may differ from the expected ones.

    :ivar score: largest difference of two scores. Detections that are closer to the threshold than
        this may come and go.
    :ivar iou: smallest IoU of two boxes.
    :ivar unmatched: share of the expected detections that may be missing, and of the detections
        that may be unexpected, 0 to 1.
    """

    score: float
    iou: float
    unmatched: float


# By the precision of the network. Measured with the shipped one, against its 180 detections in 34
# images in float32. ONNX Runtime 1.18 and 1.31 with OpenCV 4.5 and 5 differ by 1e-5 in scores.
# Weights in float16 change scores by 0.001 in the median and 0.03 at most; the smallest IoU is
# 0.79. Weights and activations in int8 change scores by 0.02 in the median and 0.4 at most; the
# smallest IoU is 0.57, and one in thirty of the detections is lost that were clear in float32.
TOLERANCES = {
    'fp32': Tolerance(score=0.05, iou=0.75, unmatched=0.0),
    'fp16': Tolerance(score=0.1, iou=0.7, unmatched=0.0),
    'int8': Tolerance(score=0.25, iou=0.5, unmatched=0.25),
}


def run_self_test(bundle: Bundle, engine: Engine, cache: Path | None = None) -> int:
    """
    Run the golden frames of a bundle and compare what is found with what is expected.

    :param bundle: without golden frames, nothing is tested.
    :param engine: that runs its network here.
    :param cache: folder that remembers which tests were passed; None runs the test in any case. A
        folder that cannot be read or written counts as an empty one.
    :return: how many detections had to be found. Where there are none, an engine that finds
        nothing passes too, and nothing is remembered.
    :raises SelfTestError: naming the first frame that differs, and how.
    """
    tolerance = TOLERANCES.get(engine.info.precision, TOLERANCES['fp32'])
    num_clear = sum(count_clear(frame, tolerance) for frame in bundle.manifest.golden)
    identity = _identity(bundle, engine)
    path = _cache_path(identity, cache) if num_clear else None
    passed = json.dumps(identity, indent=1)
    if path is not None and _read(path) == passed:
        return num_clear
    for frame in bundle.manifest.golden:
        try:
            found = _detect(bundle, engine, frame)
        except MnssdError as error:
            raise _failure(bundle, engine, frame, str(error)) from error
        limit = bundle.manifest.thresholds.max_detections
        if difference := compare_detections(frame, found, tolerance, limit):
            raise _failure(bundle, engine, frame, difference)
    if path is not None:
        _write(path, passed)
    return num_clear


def count_clear(frame: GoldenFrame, tolerance: Tolerance) -> int:
    """
    Count the expected detections that an engine must find.

    :param frame: the expected detections.
    :param tolerance: how far scores may differ.
    :return: how many are so far above the threshold that none may be missing.
    """
    return sum(score >= frame.score_threshold + tolerance.score for score in frame.scores)


def compare_detections(
    frame: GoldenFrame, found: Detections, tolerance: Tolerance, max_detections: int
) -> str | None:
    """
    Compare detections with those of a golden frame.

    Detections are paired one to one, best first, each with the one of its class that overlaps it
    most. All that is clearly above the threshold must have a partner.

    :param frame: the expected detections.
    :param found: detections under the threshold of the frame.
    :param tolerance: how far they may differ.
    :param max_detections: under which both were made. A set that reaches it tells nothing of
        what is worse than its worst detection.
    :return: what differs by more than the tolerance; None where nothing does.
    """
    expected = Detections(
        np.array(frame.boxes, np.float32).reshape(-1, 4),
        np.array(frame.scores, np.float32),
        np.array(frame.labels, np.int64),
    )
    pairs = _pair(expected, found, tolerance)
    for words, detections, others, paired in (
        ('missing', expected, found, pairs[:, 0]),
        ('unexpected', found, expected, pairs[:, 1]),
    ):
        is_full = len(others) >= max_detections
        threshold = float(others.scores.min()) if is_full else frame.score_threshold
        clear = np.flatnonzero(detections.scores >= threshold + tolerance.score)
        alone = np.setdiff1d(clear, paired)
        if len(alone) > tolerance.unmatched * len(clear):
            first = alone[0]
            box = ', '.join(f'{side:.1f}' for side in detections.boxes[first])
            return (
                f'expected {len(expected)} detections, got {len(found)}; {len(alone)} of '
                f'{len(clear)} clear ones are {words}, the best of them of class '
                f'{detections.labels[first]} with score {detections.scores[first]:.2f} at ({box})'
            )
    return None


def _pair(expected: Detections, found: Detections, tolerance: Tolerance) -> NDArray[np.int64]:
    """Pair detections greedily, best expected first: ``(N, 2)`` indices into both."""
    overlap = boxes_of.box_iou(expected.boxes, found.boxes)
    overlap[expected.labels[:, None] != found.labels] = 0
    overlap[np.abs(expected.scores[:, None] - found.scores) > tolerance.score] = 0
    pairs = []
    for row in range(len(expected) if len(found) else 0):
        column = int(overlap[row].argmax())
        if overlap[row, column] >= tolerance.iou:
            pairs.append((row, column))
            overlap[:, column] = 0
    return np.array(pairs, np.int64).reshape(-1, 2)


def _detect(bundle: Bundle, engine: Engine, frame: GoldenFrame) -> Detections:
    """Find the objects in a golden frame as in any other."""
    encoded = bundle.read(frame.path)
    width, height = read_image_size(encoded, frame.path)
    if width * height > MAX_GOLDEN_PIXELS:
        raise ImageError(
            f'expected a golden frame of at most {MAX_GOLDEN_PIXELS} pixels, got {width}x{height}'
        )
    thresholds = replace(bundle.manifest.thresholds, score=frame.score_threshold)
    return Detector(engine, thresholds).detect(decode_image(encoded, frame.path))


def _failure(bundle: Bundle, engine: Engine, frame: GoldenFrame, reason: str) -> SelfTestError:
    """Word a failed test."""
    return SelfTestError(bundle.path, str(engine.info), frame.path, reason)


def _identity(bundle: Bundle, engine: Engine) -> dict[str, str]:
    """Name everything that decides what is found; empty where it cannot be told."""
    try:
        own_version = version('mnssd_perception')
    except PackageNotFoundError:  # run from a source tree that nobody installed
        own_version = ''
    return {
        'bundle': bundle.digest,
        'mnssd': own_version,
        'source': _source_digest(PACKAGE),
        'processor': _processor(CPU_INFO),
        'numpy': np.__version__,
        'opencv': cv2.__version__,
        **asdict(engine.info),
    }


def _source_digest(package: Path) -> str:
    """Compute the SHA-256 of the source between an image and its detections."""
    digest = hashlib.sha256()
    try:
        for path in sorted(path for pattern in SOURCES for path in package.glob(pattern)):
            digest.update(f'{path.relative_to(package)}\n'.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return ''
    return digest.hexdigest()


def _processor(cpu_info: Path) -> str:
    """Name the models of the processor's cores, as Linux does on x86 and on Arm."""
    lines = (_read(cpu_info) or '').splitlines()
    keys = ('model name', 'CPU implementer', 'CPU part')
    return '; '.join(sorted({' '.join(line.split()) for line in lines if line.startswith(keys)}))


def _cache_path(identity: dict[str, str], cache: Path | None) -> Path | None:
    """Name the file that says that a test was passed."""
    if cache is None or not (identity['mnssd'] and identity['source']):
        return None
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache / 'self_test' / f'{key}.json'


def _read(path: Path) -> str | None:
    """Read the beginning of a text file; None where that fails."""
    try:
        with path.open(encoding='utf-8') as file:
            return file.read(1 << 16)
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a file of the cache; where that fails, the test runs again next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
