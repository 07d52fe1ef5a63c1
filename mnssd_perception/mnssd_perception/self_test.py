"""
Compare an engine on this machine with the golden frames of its bundle.

A bundle holds images and the detections of the model in them where it was made. A network that
was damaged before it was packed, a runtime with a bug and a driver that computes nonsense all pass
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
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Detections
import numpy as np

MAX_GOLDEN_PIXELS = 2**25  # of a golden frame: 100 MB of RGB

# The source between an image and the verdict on its detections.
PACKAGE = Path(__file__).parent
SOURCES = (
    'ssd/*.py', 'engines/*.py', 'detector.py', 'encodings.py', 'image_file.py', 'matching.py',
    'self_test.py', 'thermal.py',
)  # fmt: skip
CPU_INFO = Path('/proc/cpuinfo')


@dataclass(frozen=True)
class Tolerance:
    """
    How much detections may differ from the expected ones.

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
    Detect in the golden frames of a bundle and compare with the expected detections.

    :param bundle: without golden frames, nothing is tested.
    :param cache: folder that remembers the tests that were passed; None runs the test in any case.
        A folder that cannot be read or written counts as an empty one.
    :return: number of detections that the engine had to find. If it is 0, an engine that finds
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
    limit = bundle.manifest.thresholds.max_detections
    for frame in bundle.manifest.golden:
        try:
            detections = _detect(bundle, engine, frame)
        except MnssdError as error:
            raise SelfTestError(bundle.path, str(engine.info), frame.path, str(error)) from error
        if difference := compare_detections(frame, detections, tolerance, limit):
            raise SelfTestError(bundle.path, str(engine.info), frame.path, difference)
    if path is not None:
        _write(path, passed)
    return num_clear


def count_clear(frame: GoldenFrame, tolerance: Tolerance) -> int:
    """Count the expected detections so far above the threshold that an engine must find them."""
    return sum(score >= frame.score_threshold + tolerance.score for score in frame.scores)


def compare_detections(
    frame: GoldenFrame, detections: Detections, tolerance: Tolerance, max_detections: int
) -> str | None:
    """
    Compare detections with those of a golden frame.

    Detections are matched one to one within their class. Each that is clearly above the threshold
    must have a match.

    :param detections: under the score threshold of the frame.
    :param max_detections: limit under which both were made. If one of them has as many, lower
        scores than its lowest cannot be compared.
    :return: what differs by more than the tolerance; None where nothing does.
    """
    expected = Detections(
        np.array(frame.boxes, np.float32).reshape(-1, 4),
        np.array(frame.scores, np.float32),
        np.array(frame.labels, np.int64),
    )
    score_difference = np.abs(expected.scores[:, None] - detections.scores)
    matches = match_detections(
        detections,
        expected.boxes,
        expected.labels,
        iou_threshold=tolerance.iou,
        allowed=score_difference <= tolerance.score,
    ).true_positives
    for adjective, one, other, matched in (
        ('missing', expected, detections, matches[:, 0]),
        ('unexpected', detections, expected, matches[:, 1]),
    ):
        is_full = len(other) >= max_detections
        threshold = float(other.scores.min()) if is_full else frame.score_threshold
        clear = np.flatnonzero(one.scores >= threshold + tolerance.score)
        unmatched = np.setdiff1d(clear, matched)
        if len(unmatched) > tolerance.unmatched * len(clear):
            best = unmatched[0]
            box = ', '.join(f'{edge:.1f}' for edge in one.boxes[best])
            return (
                f'expected {len(expected)} detections, got {len(detections)}; {len(unmatched)} of '
                f'{len(clear)} clear ones are {adjective}, the best of them of class '
                f'{one.labels[best]} with score {one.scores[best]:.2f} at ({box})'
            )
    return None


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
    """List everything that decides what an engine detects; empty where it is unknown."""
    try:
        package_version = version('mnssd_perception')
    except PackageNotFoundError:  # run from a source tree that nobody installed
        package_version = ''
    return {
        'bundle': bundle.digest,
        'mnssd': package_version,
        'source': _source_digest(PACKAGE),
        'processor': _processor(CPU_INFO),
        'numpy': np.__version__,
        'opencv': cv2.__version__,
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


def _cache_path(identity: dict[str, str], cache: Path | None) -> Path | None:
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
