"""A checkpoint, an ONNX file or a bundle to something that finds objects as the drone does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
import tempfile
from time import perf_counter
from typing import Any

from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    file_entries,
    Manifest,
    open_bundle,
    write_bundle,
)
from mnssd_perception.detector import Detector, StageTimings
from mnssd_perception.engines import Engine, open_engine
from mnssd_perception.ssd import (
    Detections,
    ModelSpec,
    postprocess,
    prior_digest,
    resize_frame,
    resize_transform,
    Thresholds,
)
from mnssd_training.data import Sample
from mnssd_training.errors import DatasetError
from mnssd_training.evaluation import detect_all, detect_model, SCORING
from mnssd_training.evaluation.detect import Progress
from mnssd_training.evaluation.speed import TimedDetect
from mnssd_training.export import read_spec
from mnssd_training.model import MobileNetSsd
from mnssd_training.train import load_checkpoint
import numpy as np
from numpy.typing import NDArray
import torch


@dataclass(frozen=True)
class Predictor:
    """
    Something that finds objects, whatever file it came from.

    :ivar kind: ``checkpoint``, ``ONNX file`` or ``bundle``.
    :ivar spec: what goes in and comes out.
    :ivar thresholds: the settings under which it is meant to fly.
    :ivar ran_on: what runs the network, for people.
    :ivar experiment: that it was trained by, as plain data; empty where that is not known here.
    :ivar detect: finds the objects in ``(H, W, 3)`` uint8 RGB, and tells how long that took.
    :ivar detect_samples: finds those of many images, as quickly as it can.
    """

    kind: str
    spec: ModelSpec
    thresholds: Thresholds
    ran_on: str
    experiment: dict[str, Any]
    detect: TimedDetect
    detect_samples: Callable[[Sequence[Sample], Progress | None], list[Detections]]


Choose = Callable[[Thresholds], Thresholds]


def for_scoring(thresholds: Thresholds) -> Thresholds:
    """Choose thresholds that also tell what the network doubts."""
    return replace(SCORING, iou=thresholds.iou)


def open_predictor(place: str, engine: str = 'auto', choose: Choose = for_scoring) -> Predictor:
    """
    Open what is named on the command line.

    :param place: a checkpoint (``.pt``, a path or an address), an ONNX file that was exported
        here, or a bundle.
    :param engine: for an ONNX file or a bundle.
    :param choose: makes the thresholds of the detector from the thresholds of the model.
    :return: what it is.
    :raises MnssdError: naming the file and what is wrong with it.
    """
    suffix = PurePosixPath(place).suffix.lower()
    if suffix == '.pt':
        return _checkpoint(place, choose)
    path = Path(place)
    if suffix == '.onnx':
        return _lone_network(path, engine, choose)
    bundle = open_bundle(path)
    return _bundle('bundle', bundle, open_engine(bundle, engine), choose)


def _bundle(kind: str, bundle: Bundle, engine: Engine, choose: Choose) -> Predictor:
    """Open a bundle as the drone does."""
    manifest, info = bundle.manifest, engine.info
    detector = Detector(bundle, engine, choose(manifest.thresholds))
    return Predictor(
        kind,
        manifest.spec,
        manifest.thresholds,
        f'{info.name} {info.version}, {info.precision}, {info.device}',
        {},
        detector.detect_timed,
        lambda samples, progress: detect_all(detector.detect, samples, progress),
    )


def _lone_network(path: Path, engine: str, choose: Choose) -> Predictor:
    """Put an ONNX file into a bundle for the moment: the drone opens nothing else."""
    try:
        network = path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f'cannot read the network: {error.strerror}') from error
    spec = read_spec(path, network)
    files = {'network.onnx': network}
    manifest = Manifest(
        schema=1,
        name='network',
        version='0',
        spec=spec,
        num_priors=spec.num_priors,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=(Artefact('network.onnx', 'onnxruntime', 'fp32'),),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / 'network.mnssd', manifest, files)
        bundle = open_bundle(Path(folder) / 'network.mnssd')
        return _bundle('ONNX file', bundle, open_engine(bundle, engine), choose)


def _checkpoint(place: str, choose: Choose) -> Predictor:
    """Run a checkpoint in PyTorch, on a GPU where there is one."""
    checkpoint = load_checkpoint(place)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = checkpoint.build().to(device)
    thresholds = Thresholds()
    chosen = choose(thresholds)
    name = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    return Predictor(
        'checkpoint',
        model.spec,
        thresholds,
        f'PyTorch {torch.__version__}, {name}, {torch.get_num_threads()} threads',
        checkpoint.experiment,
        _timed(model, chosen),
        lambda samples, progress: detect_model(model, samples, progress, thresholds=chosen),
    )


def _timed(model: MobileNetSsd, thresholds: Thresholds) -> TimedDetect:
    """Do with a network in PyTorch what a detector does with an engine."""

    def detect(image: NDArray[np.uint8]) -> tuple[Detections, StageTimings]:
        started = perf_counter()
        plan = resize_transform(image.shape[:2], model.spec.input_size, model.spec.resize)
        network_image = resize_frame(image, plan)
        resized = perf_counter()
        heads = model.infer(network_image)
        inferred = perf_counter()
        found = postprocess(heads, model.spec, plan, thresholds)
        done = perf_counter()
        return found, StageTimings(resized - started, inferred - resized, done - inferred)

    return detect
