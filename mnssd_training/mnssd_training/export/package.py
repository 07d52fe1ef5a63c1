"""Package a checkpoint as a bundle: export, compare with PyTorch, score and self-test it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
import re
import tempfile

from mnssd_perception import self_test
from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GoldenFrame,
    Manifest,
    open_bundle,
    Provenance,
    write_bundle,
)
from mnssd_perception.bundle.manifest import SCORE_DIGITS
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_onnx
from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import prior_digest, Thresholds
from mnssd_training.data.sample import load_image, read_encoded, Sample
from mnssd_training.evaluation import detect_samples, evaluate_detections, scores_to_json, SCORING
from mnssd_training.evaluation.detect import spread
from mnssd_training.export import provenance
from mnssd_training.export.onnx import export_onnx
from mnssd_training.export.parity import check_parity
from mnssd_training.train.checkpoint import Checkpoint

NETWORK, SUFFIX = 'network.onnx', '.mnssd'
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


def bundle_path(output: Path, name: str, version: str) -> Path:
    """Choose the path of a bundle: ``output``, or a file in it unless it ends in ``.mnssd``."""
    if output.suffix == SUFFIX and not output.is_dir():
        return output
    return output / f'{name}-{version}{SUFFIX}'


def package(
    checkpoint: Checkpoint,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    path: Path,
    notes: PackageNotes,
    *,
    num_golden: int = 3,
    num_parity: int = 100,
) -> Manifest:
    """
    Package a checkpoint as a bundle.

    The network is exported, compared with PyTorch on real images, and scored by the engine of the
    drone. The bundle is written after it has passed its own self-test.

    :param num_golden: validation images to put in for the self-test: of ten times as many,
        those with the most clear detections.
    :param num_parity: validation images to compare on.
    :raises ExportError: if the exported network differs from the trained one.
    :raises SelfTestError: if the engine does not find the same again.
    """
    model = checkpoint.build()
    spec, thresholds = model.spec, notes.thresholds
    files = {NETWORK: export_onnx(model), **notes.documents}
    manifest = Manifest(
        schema=1,
        name=notes.name,
        version=notes.version,
        spec=spec,
        num_priors=spec.num_priors,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=(Artefact(NETWORK, 'onnxruntime', 'fp32', provenance.toolchain()),),
        thresholds=thresholds,
        provenance=Provenance(
            notes.dataset,
            provenance.dataset_digest(train),
            notes.licence,
            notes.attribution,
            provenance.git_commit(),
            provenance.public_experiment(checkpoint.experiment),
        ),
    )
    engine = open_onnx(spec, files[NETWORK], 'onnxruntime')
    parity = check_parity(model, engine, _spread_with_objects(validation, num_parity), thresholds)
    scoring = Detector(engine, replace(SCORING, iou=thresholds.iou))
    scores = evaluate_detections(validation, detect_samples(scoring, validation), spec.class_names)
    metrics = {
        'scores': scores_to_json(scores),
        'parity_with_pytorch': to_plain(parity),
        'measured_on': {
            'split': 'validation',
            'num_images': len(validation),
            'digest': provenance.dataset_digest(validation),
            'score_threshold': SCORING.score,
            'engine': to_plain(engine.info),
        },
    }
    small = [sample for sample in validation if prod(sample.size) <= self_test.MAX_GOLDEN_PIXELS]
    detector, tolerance = Detector(engine, thresholds), self_test.TOLERANCES[engine.info.precision]
    golden = _choose_golden(detector, small, num_golden, tolerance)
    files |= {frame.path: read_encoded(sample.path) for frame, sample in golden}
    manifest = replace(
        manifest,
        files=file_entries(files),
        artefacts=(replace(manifest.artefacts[0], metrics=metrics),),
        golden=tuple(frame for frame, _ in golden),
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / 'draft.mnssd'
        write_bundle(draft, manifest, files)
        self_test.run_self_test(open_bundle(draft), engine)
    engine.close()
    write_bundle(path, manifest, files)
    return open_bundle(path).manifest


def _choose_golden(
    detector: Detector, samples: Sequence[Sample], num: int, tolerance: self_test.Tolerance
) -> list[tuple[GoldenFrame, Sample]]:
    """Choose the images with the most detections that an engine must find."""
    candidates = _spread_with_objects(samples, num * GOLDEN_CANDIDATES)
    frames = []
    for sample in candidates:
        detections = detector.detect(load_image(sample))
        boxes = detections.boxes.round(3).astype(float).tolist()
        frame = GoldenFrame(
            re.sub(r'[^A-Za-z0-9._-]+', '_', sample.path.name),
            detector.thresholds.score,
            tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in boxes),
            tuple(round(float(score), SCORE_DIGITS) for score in detections.scores),
            tuple(detections.labels.tolist()),
        )
        frames.append((frame, sample))
    frames.sort(key=lambda frame: -self_test.count_clear(frame[0], tolerance))
    return [
        (replace(frame, path=f'golden/{number}_{frame.path}'), sample)
        for number, (frame, sample) in enumerate(frames[:num], 1)
    ]


def _spread_with_objects(samples: Sequence[Sample], num: int) -> list[Sample]:
    """Choose samples with objects, where there are any, evenly over the set."""
    return spread([sample for sample in samples if len(sample.boxes)] or samples, num)
