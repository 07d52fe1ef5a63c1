"""Open a checkpoint, an ONNX file or a bundle as a detector."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mnssd_perception.bundle import open_bundle
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine, open_engine, open_onnx
from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd import Thresholds
from mnssd_training.errors import DatasetError
from mnssd_training.export import read_spec
from mnssd_training.model import TorchEngine
from mnssd_training.train import load_checkpoint
import torch


@dataclass(frozen=True)
class Predictor:
    """A detector and the file that it was opened from."""

    file_type: str  # checkpoint, ONNX file or bundle
    detector: Detector
    thresholds: Thresholds  # defaults of the model; the detector begins with them
    experiment: dict[str, Any]  # that trained the model, as plain data; may be empty


def open_predictor(path: str, engine: str = 'auto', precision: str = '') -> Predictor:
    """
    Open a model.

    :param path: a checkpoint (``.pt``, a path or a URL), an ONNX file that was exported by mnssd,
        or a bundle.
    :param engine: for an ONNX file or a bundle; a checkpoint runs in PyTorch, on a GPU if any.
    :param precision: of the network in a bundle; empty for the fastest that the engine can run.
    :raises MnssdError: naming the file and what is wrong with it.
    """
    thresholds = Thresholds()
    experiment: dict[str, Any] = {}
    suffix = PurePosixPath(path).suffix.lower()
    if precision and suffix in ('.pt', '.onnx'):
        raise SettingsError(
            f'precision: expected a bundle, which holds several networks, got {path!r}'
        )
    match suffix:
        case '.pt':
            file_type, checkpoint = 'checkpoint', load_checkpoint(path)
            model = checkpoint.build().to('cuda' if torch.cuda.is_available() else 'cpu')
            opened: Engine = TorchEngine(model)
            experiment = checkpoint.experiment
        case '.onnx':
            file_type = 'ONNX file'
            try:
                network = Path(path).read_bytes()
            except OSError as error:
                raise DatasetError(path, f'cannot read the network: {error.strerror}') from error
            opened = open_onnx(read_spec(Path(path), network), network, engine)
        case _:
            file_type, bundle = 'bundle', open_bundle(path)
            opened = open_engine(bundle, engine, precision=precision)
            thresholds = bundle.manifest.thresholds
    return Predictor(file_type, Detector(opened, thresholds), thresholds, experiment)
