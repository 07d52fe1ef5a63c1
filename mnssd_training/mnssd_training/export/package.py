"""
Package a checkpoint as a bundle: export, quantise, measure, and write what passed.

Each network is measured in each of its engines by the accuracy gate. If one of them fails, so does
the export, with a report beside the bundle that it would have written; an older bundle stays.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
import re
import tempfile
from typing import Any

from mnssd_perception import self_test
from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    file_entries,
    GoldenFrame,
    Manifest,
    open_bundle,
    Provenance,
    write_bundle,
)
from mnssd_perception.bundle.manifest import MANIFEST, SCHEMA, SCORE_DIGITS
from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import Detections, prior_digest, Thresholds
from mnssd_training.config import ArtefactName, ExportConfig
from mnssd_training.data.sample import read_encoded, Sample
from mnssd_training.errors import ExportError
from mnssd_training.evaluation import scores_to_json, SCORING
from mnssd_training.evaluation.detect import spread
from mnssd_training.export import provenance
from mnssd_training.export.artefacts import (
    choose_runners,
    EMULATOR,
    Measurement,
    NETWORKS,
    open_network,
    Step,
)
from mnssd_training.export.calibration import list_calibration_images, load_calibration_images
from mnssd_training.export.factory import MadeNetwork, NetworkFactory
from mnssd_training.export.gate import (
    make_reference,
    Progress,
    Reference,
)
from mnssd_training.export.gate_report import remove_reports, write_reports
from mnssd_training.export.onnx import export_onnx
from mnssd_training.export.parity import compare_heads, HeadDifferences
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.train.checkpoint import Checkpoint

SUFFIX = '.mnssd'
GOLDEN_CANDIDATES = 10  # images to choose each golden frame from


@dataclass(frozen=True)
class PackageNotes:
    """The parts of a bundle that the user chooses."""

    name: str
    version: str
    dataset: str = ''
    licence: str = ''  # of the data
    attribution: str = ''  # the credit that the licence asks for
    documents: dict[str, bytes] = field(default_factory=dict)  # texts such as a model card
    thresholds: Thresholds = Thresholds()
    trained: Provenance | None = None  # where that is known, as of a bundle that is exported again


def bundle_path(output: Path, name: str, version: str) -> Path:
    """Choose the path of a bundle: ``output``, or a file in it unless it ends in ``.mnssd``."""
    if output.suffix == SUFFIX and not output.is_dir():
        return output
    return output / f'{name}-{version}{SUFFIX}'


@contextmanager
def _silent_step(title: str, num_images: int) -> Iterator[Progress]:
    yield lambda num: None


def package(
    checkpoint: Checkpoint,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    path: Path,
    notes: PackageNotes,
    config: ExportConfig,
    *,
    num_golden: int = 3,
    num_parity: int = 20,
    step: Step = _silent_step,
) -> Manifest:
    """
    Package a checkpoint as a bundle.

    :param train: to choose calibration images from.
    :param validation: for the gate; not empty.
    :param num_golden: validation images to put in for the self-test: of ten times as many,
        those with the most clear detections.
    :param num_parity: validation images on which to compare raw heads with PyTorch.
    :raises ExportError: if a network cannot be made, or does not pass the accuracy gate.
    :raises SelfTestError: if an engine does not find the same in the golden frames.
    """
    _check_documents(notes.documents)
    if folder := config.quantization.calibration_images:
        list_calibration_images(Path(folder))  # a mistake shows before minutes of measuring
    runners, unavailable = choose_runners(config)
    for reason in unavailable:
        with step(f'left out: {reason}', 0):
            pass
    model = checkpoint.build()
    spec, thresholds = model.spec, notes.thresholds
    with step('exporting to ONNX', 0):
        network = export_onnx(model)
    with step('checkpoint: measuring in PyTorch', len(validation)) as advance:
        reference = make_reference(TorchEngine(model), validation, thresholds, advance)
    factory = NetworkFactory(model, network, reference, train, runners, config, step)
    made = _make_all(factory, config.artefacts)
    if refused := [item for item in made if not item.has_passed]:
        raise _refuse(path, refused)
    with step('fp32: comparing raw heads with PyTorch', 0):
        parity = _check_parity(model, network, _spread_with_objects(validation, num_parity))
    golden = _choose_golden(reference, made[0].measurements[0].report.detections, num_golden)
    files = {NETWORKS[item.name].path: item.network for item in made}
    files |= notes.documents | {frame.path: read_encoded(image.path) for frame, image in golden}
    manifest = Manifest(
        schema=SCHEMA,
        name=notes.name,
        version=notes.version,
        spec=spec,
        num_priors=spec.num_priors,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=tuple(
            _describe(item, measurement, reference, parity, config)
            for item in made
            for measurement in item.measurements
        ),
        thresholds=thresholds,
        provenance=_trace(checkpoint, train, notes),
        golden=tuple(frame for frame, _ in golden),
    )
    with tempfile.TemporaryDirectory() as folder, step('self-test of every engine', 0):
        draft = Path(folder) / 'draft.mnssd'
        write_bundle(draft, manifest, files)
        _test_all(open_bundle(draft), made)
    write_bundle(path, manifest, files)
    remove_reports(path)
    return open_bundle(path).manifest


def _check_documents(names: Collection[str]) -> None:
    """Refuse a document that would take the place of a measured network."""
    reserved = {MANIFEST, *(file.path for file in NETWORKS.values())}
    if taken := sorted(reserved.intersection(names)):
        raise ExportError(
            f'expected documents with names of their own, got {taken[0]!r}, which every bundle '
            'keeps for itself; rename the file'
        )


def _make_all(factory: NetworkFactory, names: Sequence[ArtefactName]) -> list[MadeNetwork]:
    """Make fp32 first; where it does not pass, those that are made of it cannot either."""
    made = [factory.make('fp32')]
    for name in names if made[0].has_passed else ():
        if name != 'fp32':
            made.append(factory.make(name))
    return made


def _refuse(path: Path, refused: Sequence[MadeNetwork]) -> ExportError:
    """Write the report on networks that did not pass, and word the error."""
    failures = [
        (measurement, item.layers)
        for item in refused
        for measurement in item.measurements
        if not measurement.report.verdict.passed
    ]
    report = write_reports(path, failures)
    reasons = '; '.join(
        f'{measurement}: {", ".join(measurement.report.verdict.reasons)}'
        for measurement, _ in failures
    )
    return ExportError(
        f'{path.name} is not written, the accuracy gate refused {reasons}; see {report}'
    )


def _check_parity(
    model: MobileNetSsd, network: bytes, samples: Sequence[Sample]
) -> HeadDifferences:
    """
    Compare the raw heads of the network in float32 with those of PyTorch.

    :raises ExportError: if they differ by more than rounding does.
    """
    engine = open_network(model.spec, 'fp32', network, 'onnxruntime')
    try:
        images = load_calibration_images(samples, model.spec)
        parity = compare_heads(TorchEngine(model), engine, images)
    finally:
        engine.close()
    if problems := parity.exceeding('fp32'):
        raise ExportError('; '.join(problems))
    return parity


def _trace(checkpoint: Checkpoint, train: Sequence[Sample], notes: PackageNotes) -> Provenance:
    """State where a model comes from."""
    trained = notes.trained or Provenance(
        dataset_digest=provenance.dataset_digest(train),
        git_commit=provenance.git_commit(),
        experiment=provenance.public_experiment(checkpoint.experiment),
    )
    return replace(
        trained, dataset=notes.dataset, licence=notes.licence, attribution=notes.attribution
    )


def _describe(
    made: MadeNetwork,
    measurement: Measurement,
    reference: Reference,
    parity: HeadDifferences,
    config: ExportConfig,
) -> Artefact:
    """Describe an artefact with its verdict and everything that was measured of it."""
    file, report = NETWORKS[made.name], measurement.report
    metrics: dict[str, Any] = {
        'size_bytes': len(made.network),
        'scores': scores_to_json(report.scores),
        'measured_on': {
            'split': 'validation',
            'num_images': len(reference.samples),
            'digest': reference.dataset_digest,
            'score_threshold': SCORING.score,
            'engine': report.verdict.scored_with,
        },
        **made.details,
    }
    if measurement.speed:
        metrics['speed'] = to_plain(measurement.speed)
    if made.name == 'fp32':
        metrics['parity_with_pytorch'] = to_plain(parity)
    return Artefact(
        file.path,
        measurement.engine,
        file.precision,
        provenance.toolchain(),
        device=config.hailo.arch if made.name == 'hailo' else '',
        metrics=metrics,
        has_batch=file.has_batch,
        gate=report.verdict,
    )


def _test_all(bundle: Bundle, made: Sequence[MadeNetwork]) -> None:
    """Run the self-test of a bundle in each engine that measured a network of it."""
    for item in made:
        for runner in {measurement.runner for measurement in item.measurements} - {EMULATOR}:
            content = bundle.read(NETWORKS[item.name].path)
            engine = open_network(bundle.manifest.spec, item.name, content, runner)
            try:
                self_test.run_self_test(bundle, engine)
            finally:
                engine.close()


def _choose_golden(
    reference: Reference, detections: Sequence[Detections], num: int
) -> list[tuple[GoldenFrame, Sample]]:
    """
    Choose the images with the most detections that an engine must find.

    :param detections: of each validation image, by the network in float32.
    """
    pairs = [
        pair
        for pair in zip(reference.samples, detections)
        if prod(pair[0].size) <= self_test.MAX_GOLDEN_PIXELS
    ]
    pairs = [pair for pair in pairs if len(pair[0].boxes)] or pairs
    threshold = reference.thresholds.score
    frames = [
        (_golden_frame(sample, found, threshold), sample)
        for sample, found in spread(pairs, num * GOLDEN_CANDIDATES)
    ]
    tolerance = self_test.TOLERANCES['fp32']
    frames.sort(key=lambda frame: -self_test.count_clear(frame[0], tolerance))
    return [
        (replace(frame, path=f'golden/{number}_{frame.path}'), sample)
        for number, (frame, sample) in enumerate(frames[:num], 1)
    ]


def _golden_frame(sample: Sample, detections: Detections, score_threshold: float) -> GoldenFrame:
    boxes = detections.boxes.round(3).astype(float).tolist()
    return GoldenFrame(
        re.sub(r'[^A-Za-z0-9._-]+', '_', sample.path.name),
        score_threshold,
        tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in boxes),
        tuple(round(float(score), SCORE_DIGITS) for score in detections.scores),
        tuple(detections.labels.tolist()),
    )


def _spread_with_objects(samples: Sequence[Sample], num: int) -> list[Sample]:
    """Choose samples with objects, where there are any, evenly over the set."""
    return spread([sample for sample in samples if len(sample.boxes)] or samples, num)
