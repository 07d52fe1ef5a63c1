"""
The manifest of a bundle, ``manifest.json``, as frozen dataclasses.

Plain data only; :mod:`mnssd_perception.bundle.bundle` reads and verifies the files.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
import re
from typing import Any

from mnssd_perception.errors import SettingsError, SpecError
from mnssd_perception.serialization import from_plain, to_plain
from mnssd_perception.ssd import ModelSpec, prior_digest, Thresholds
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE

MANIFEST = 'manifest.json'
SCHEMA = 2  # that is written; docs/bundle_format.md lists what changed
SCHEMAS = (1, 2)  # that are read
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')
MAX_BYTES = 1 << 30  # of all files together; a network for a drone is a thousandth of it
DIGEST = re.compile(r'sha256:[0-9a-f]{64}')
SCORE_DIGITS = 5  # to which scores of golden frames are rounded
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
ENGINE = re.compile(r'[a-z][a-z0-9_]{0,31}')
ADDED_TO_ARTEFACTS = ('has_batch', 'gate')  # by schema 2


@dataclass(frozen=True)
class FileEntry:
    """
    One file of a bundle.

    :ivar path: inside the bundle, with forward slashes.
    :ivar size: bytes.
    :ivar sha256: ``sha256:`` and 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if (
            not path.parts
            or path.is_absolute()
            or str(path) != self.path
            or any(part in ('..', '.') for part in path.parts)
            or any(char in self.path for char in '\\:\0')
            or not self.path.isprintable()
        ):
            raise SpecError(f'expected a plain path inside the bundle, got {self.path!r}')
        if not 0 <= self.size <= MAX_BYTES:
            raise SpecError(f'{self.path}: expected 0 to {MAX_BYTES} bytes, got {self.size}')
        _check_digest(self.path, self.sha256)


@dataclass(frozen=True)
class GateVerdict:
    """
    Comparison of an artefact with the checkpoint that it was exported from, on the validation set.

    :ivar reasons: limits that the artefact broke; empty if and only if it passed.
    :ivar scored_with: the engine that ran it, its version, precision and hardware.
    :ivar num_images: of the validation set, 1 or more.
    :ivar dataset_digest: of the validation set.
    :ivar map50: mean VOC AP@0.5 of the artefact, 0 to 1.
    :ivar map50_checkpoint: the same of the checkpoint.
    :ivar num_detections: of the checkpoint, at the default thresholds.
    :ivar num_changed: detections at the default thresholds that only one of the two has.
    """

    passed: bool
    reasons: tuple[str, ...]
    scored_with: str
    num_images: int
    dataset_digest: str
    map50: float
    map50_checkpoint: float
    num_detections: int
    num_changed: int

    def __post_init__(self) -> None:
        if self.passed == bool(self.reasons):
            raise SpecError(
                f'gate: expected reasons if and only if it failed, got passed={self.passed} '
                f'with the reasons {self.reasons}'
            )
        if not (self.scored_with and self.scored_with.isprintable()):
            raise SpecError(f'gate.scored_with: expected a line of text, got {self.scored_with!r}')
        _check_digest('gate.dataset_digest', self.dataset_digest)
        for name, lowest in (('num_images', 1), ('num_detections', 0), ('num_changed', 0)):
            if (value := getattr(self, name)) < lowest:
                raise SpecError(f'gate.{name}: expected {lowest} or more, got {value}')
        for name in ('map50', 'map50_checkpoint'):
            if not 0 <= (value := getattr(self, name)) <= 1:  # also refuses NaN
                raise SpecError(f'gate.{name}: expected 0 to 1, got {value}')

    @property
    def drop(self) -> float:
        """Mean AP that the export lost, in points (hundredths); negative for a gain."""
        return 100 * (self.map50_checkpoint - self.map50)


@dataclass(frozen=True)
class Artefact:
    """
    A network for one engine in one precision; several may share a file.

    :ivar path: of the file in the bundle.
    :ivar engine: ``onnxruntime``, ``openvino``, ``tensorrt`` or ``hailo``. A name that an
        installation does not know is accepted: it belongs to an engine of a later version.
    :ivar precision: one of ``PRECISIONS``.
    :ivar toolchain: name to version of the programs that made the file.
    :ivar device: architecture that the file was compiled for, such as ``hailo8l``; empty if it
        runs on any.
    :ivar metrics: measurements of this file, with the conditions.
    :ivar has_batch: the network takes ``(B, H, W, 3)`` for any B, not a single image.
    :ivar gate: None only in a bundle of schema 1.
    """

    path: str
    engine: str
    precision: str
    toolchain: dict[str, str] = field(default_factory=dict)
    device: str = ''
    metrics: dict[str, Any] = field(default_factory=dict)
    has_batch: bool = False
    gate: GateVerdict | None = None

    def __post_init__(self) -> None:
        if not ENGINE.fullmatch(self.engine):
            raise SpecError(
                f'{self.path}: expected an engine of small letters, digits and underscores, '
                f'got {self.engine!r}'
            )
        if self.precision not in PRECISIONS:
            raise SpecError(
                f'{self.path}: expected a precision of {", ".join(PRECISIONS)}, '
                f'got {self.precision!r}'
            )
        if len(self.device) > 64 or not self.device.isprintable():
            raise SpecError(
                f'{self.path}: expected a device of at most 64 characters, got {self.device!r}'
            )


@dataclass(frozen=True)
class Provenance:
    """
    The origin of a model.

    :ivar dataset_digest: over the list of training samples and their annotations.
    :ivar licence: of the data.
    :ivar attribution: the credit that the licence asks for.
    :ivar git_commit: of the training code.
    """

    dataset: str = ''
    dataset_digest: str = ''
    licence: str = ''
    attribution: str = ''
    git_commit: str = ''
    experiment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldenFrame:
    """
    An image and its expected detections, for a self-test on the device.

    :ivar path: of the image in the bundle.
    :ivar score_threshold: under which the detections were made.
    :ivar boxes: xyxy, pixels, best first.
    """

    path: str
    score_threshold: float
    boxes: tuple[tuple[float, float, float, float], ...]
    scores: tuple[float, ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 < self.score_threshold < 1:
            raise SpecError(
                f'{self.path}: expected a score_threshold of more than 0 and less than 1, '
                f'got {self.score_threshold}'
            )
        if not len(self.boxes) == len(self.scores) == len(self.labels):
            raise SpecError(
                f'{self.path}: expected as many boxes as scores and labels, '
                f'got {len(self.boxes)}, {len(self.scores)} and {len(self.labels)}'
            )
        lowest = self.score_threshold - 10**-SCORE_DIGITS
        for score in self.scores:
            if not lowest <= score <= 1:
                raise SpecError(
                    f'{self.path}: expected scores of {self.score_threshold} to 1, got {score}'
                )
        if any(worse > better for better, worse in zip(self.scores, self.scores[1:])):
            raise SpecError(f'{self.path}: expected the best score first, got {self.scores}')
        for x1, y1, x2, y2 in self.boxes:
            if not (0 <= x1 < x2 <= MAX_IMAGE_SIDE and 0 <= y1 < y2 <= MAX_IMAGE_SIDE):
                raise SpecError(
                    f'{self.path}: expected boxes xyxy of 0 to {MAX_IMAGE_SIDE} pixels, '
                    f'got {(x1, y1, x2, y2)}'
                )


@dataclass(frozen=True)
class Manifest:
    """
    The manifest of a bundle.

    :ivar schema: version of this layout.
    :ivar name: of the model, as is the version.
    :ivar num_priors: in training, as is their digest.
    :ivar files: every file of the bundle but the manifest.
    :ivar thresholds: the defaults of the model.
    :ivar golden: images for the self-test.
    """

    schema: int
    name: str
    version: str
    spec: ModelSpec
    num_priors: int
    prior_digest: str
    files: tuple[FileEntry, ...]
    artefacts: tuple[Artefact, ...]
    thresholds: Thresholds = Thresholds()
    provenance: Provenance = Provenance()
    golden: tuple[GoldenFrame, ...] = ()

    def __post_init__(self) -> None:
        for key in ('name', 'version'):
            if not NAME.fullmatch(getattr(self, key)):
                raise SpecError(
                    f'{key}: expected letters, digits, dots, dashes and underscores, '
                    f'got {getattr(self, key)!r}'
                )
        paths = {entry.path for entry in self.files}
        if len(paths) != len(self.files):
            raise SpecError('files: expected paths that differ')
        if MANIFEST in paths:
            raise SpecError(f'files: expected all but {MANIFEST!r}, which cannot list itself')
        if (total := sum(entry.size for entry in self.files)) > MAX_BYTES:
            raise SpecError(f'files: expected at most {MAX_BYTES} bytes together, got {total}')
        if not self.artefacts:
            raise SpecError('artefacts: expected at least one, got none')
        used = [item.path for item in self.artefacts] + [frame.path for frame in self.golden]
        for path in used:
            if path not in paths:
                raise SpecError(f'{path!r} is not among the files')
        self._check_artefacts()
        self._check_golden()
        if self.num_priors != self.spec.num_priors:
            raise SpecError(
                f'num_priors: expected {self.num_priors}, the specification makes '
                f'{self.spec.num_priors}'
            )
        if self.prior_digest != prior_digest(self.spec):
            raise SpecError(
                'prior_digest: the priors are not those that the model was trained with'
            )

    def _check_artefacts(self) -> None:
        """Refuse two artefacts for one purpose, and any that has not passed the accuracy gate."""
        if self.schema == 1:
            if any(item.gate is not None or item.has_batch for item in self.artefacts):
                raise SpecError('artefacts: expected no gate and no has_batch in schema 1')
            return
        keys = Counter((item.engine, item.precision, item.has_batch) for item in self.artefacts)
        (engine, precision, has_batch), count = keys.most_common(1)[0]
        if count > 1:
            raise SpecError(
                f'artefacts: expected one for {engine} in {precision} '
                f'{"with" if has_batch else "without"} a batch dimension, got {count}'
            )
        for item in self.artefacts:
            if item.gate is None or not item.gate.passed:
                verdict = 'none' if item.gate is None else '; '.join(item.gate.reasons)
                raise SpecError(
                    f'{item.path}: expected an artefact that passed the accuracy gate, '
                    f'got the verdict {verdict!r}'
                )

    def _check_golden(self) -> None:
        """Refuse golden frames that this model cannot have made."""
        for frame in self.golden:
            if not all(0 <= label < self.spec.num_classes for label in frame.labels):
                raise SpecError(
                    f'{frame.path}: expected labels of 0 to {self.spec.num_classes - 1}, '
                    f'got {frame.labels}'
                )
            if len(frame.scores) > self.thresholds.max_detections:
                raise SpecError(
                    f'{frame.path}: expected at most {self.thresholds.max_detections} '
                    f'detections, as the thresholds say, got {len(frame.scores)}'
                )
        if len({frame.path for frame in self.golden}) != len(self.golden):
            raise SpecError('golden: expected paths that differ')


def _check_digest(name: str, digest: str) -> None:
    if not DIGEST.fullmatch(digest):
        raise SpecError(f"{name}: expected 'sha256:' and 64 hexadecimal digits, got {digest!r}")


def manifest_to_plain(manifest: Manifest) -> dict[str, Any]:
    """Convert a manifest to plain data, with the keys of its schema."""
    plain: dict[str, Any] = to_plain(manifest)
    if manifest.schema == 1:
        for artefact in plain['artefacts']:
            for key in ADDED_TO_ARTEFACTS:
                del artefact[key]
    return plain


def read_manifest(plain: Any) -> Manifest:
    """
    Convert the parsed JSON of a manifest.

    :raises SpecError: naming the key that is missing, unknown or wrong.
    """
    schema = plain.get('schema') if isinstance(plain, dict) else None
    if isinstance(schema, int) and schema not in SCHEMAS:
        raise SpecError(
            f'expected schema {" or ".join(map(str, SCHEMAS))}, got {schema}; '
            f'this bundle needs {"a newer" if schema > SCHEMA else "an older"} mnssd'
        )
    try:
        manifest = from_plain(Manifest, plain, SpecError)
    except SettingsError as error:
        raise SpecError(f'thresholds: {error}') from error
    for index, artefact in enumerate(plain['artefacts'] if manifest.schema == 1 else ()):
        if added := [key for key in ADDED_TO_ARTEFACTS if key in artefact]:
            raise SpecError(
                f'unknown key {added[0]!r} at artefacts[{index}]; schema 2 has it, '
                'this is schema 1'
            )
    return manifest
