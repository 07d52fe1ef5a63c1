"""
Deployments: everything that an export needs, from a YAML file and the command line.

Later sources win: the defaults of the schema, what the checkpoint or bundle knows of itself, the
file, the command line. Keys of ``data`` and ``export`` that nobody sets are those of the
experiment that trained the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, get_args

from mnssd_perception.bundle import Bundle, open_bundle, Provenance
from mnssd_perception.bundle.manifest import NAME
from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import Thresholds
from mnssd_training.config import expand_stored, ExportConfig, ModelConfig, rename_keys
from mnssd_training.config.compose import compose_section, read_keys
from mnssd_training.config.experiment import Validated
from mnssd_training.config.sections import DataConfig, Section, Size
from mnssd_training.config.validate import validate_section
from mnssd_training.config.yaml_tree import children, from_plain, Node
from mnssd_training.train import load_checkpoint
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.initial_weights import read_initial_weights
from pydantic import Field

FROM_EXPERIMENT = ('data', 'export')


class Deployment(Section):
    """How a checkpoint becomes a bundle. Paths in a file are relative to its folder."""

    name: str = Field(pattern=f'^{NAME.pattern}$')
    """Of the model."""
    version: str = Field(pattern=f'^{NAME.pattern}$')
    """Of the model, such as 0.1.0."""
    checkpoint: str = Field(min_length=1, json_schema_extra={'path': True})
    """Checkpoint, a path or ``s3://``, or the path of a bundle to export again."""
    output: str = Field(default='.', json_schema_extra={'path': True})
    """Folder for the bundle, or its path, ending in .mnssd."""
    data: DataConfig
    """Images to choose calibration images from (training) and to score on (validation)."""
    dataset: str = ''
    """Name of the dataset."""
    licence: str = ''
    """Licence of the data."""
    attribution: str = ''
    """Credit that the licence asks for."""
    documents: tuple[str, ...] = Field(default=(), json_schema_extra={'path': True})
    """Texts to put in, such as a model card."""
    thresholds: Annotated[Thresholds, Validated] = Thresholds()
    """Defaults of the model for score, IoU and number of detections."""
    input_size: Size | None = None
    """(height, width) of the exported network, pixels; null as trained."""
    export: ExportConfig = ExportConfig()
    """Artefacts and their limits."""


@dataclass(frozen=True)
class ExportSource:
    """
    A network to export.

    :ivar known: keys of a deployment that it brings along, as plain data.
    :ivar documents: that it brings along, by name.
    :ivar trained: where it comes from, if it is exported again.
    """

    checkpoint: Checkpoint
    known: dict[str, Any]
    documents: dict[str, bytes]
    trained: Provenance | None = None

    @property
    def thresholds(self) -> Thresholds:
        """Defaults of the model."""
        return Thresholds(**self.known.get('thresholds', {}))


def open_source(path: str) -> ExportSource:
    """
    Open a checkpoint, or a bundle, whose network in float32 has the same weights.

    :raises CheckpointError: if it is neither, or damaged.
    """
    if PurePosixPath(path).suffix.lower() != '.mnssd' and not Path(path).is_dir():
        checkpoint = load_checkpoint(path)
        return ExportSource(checkpoint, _read_experiment(checkpoint.experiment), {})
    initial = read_initial_weights(path)  # with a network configuration, which it has checked
    bundle = open_bundle(path)
    manifest = bundle.manifest
    experiment = rename_keys(manifest.provenance.experiment)
    config = ModelConfig.model_validate(experiment['model'])
    checkpoint = Checkpoint(initial.spec, config, experiment, initial.weights, None, 0, {})
    trained = manifest.provenance
    known: dict[str, Any] = {
        'name': manifest.name,
        'thresholds': to_plain(manifest.thresholds),
        **{key: getattr(trained, key) for key in ('dataset', 'licence', 'attribution')},
        **_read_experiment(experiment),
    }
    if 'data' in known:
        known['data'].pop('root', None)  # of which a bundle has only the name of the folder
    return ExportSource(checkpoint, known, _read_documents(bundle), manifest.provenance)


def read_deployment_file(path: Path, environment: Mapping[str, str] = os.environ) -> Node:
    """
    Read a deployment file; its paths become relative to the working directory.

    :raises ConfigError: naming file, line and key.
    """
    return _rebase(read_keys(path, environment), Deployment, path.parent)


def compose_deployment(
    source: ExportSource,
    layers: Sequence[Node],
    overrides: Sequence[str],
    environment: Mapping[str, str] = os.environ,
) -> Node:
    """
    Compose the keys of a deployment.

    :param layers: of the file and of the command line.
    :param overrides: ``key.path=value``, the value in YAML.
    :raises ConfigError: naming the key.
    """
    known = dict(source.known)
    if 'data' in known:
        # Variables in keys that the user replaces need not be set.
        keys = [override.partition('=')[0].split('.') for override in overrides]
        replaced = {key[1] for key in keys if key[0] == 'data' and len(key) > 1}
        for layer in layers:
            replaced |= set(children(children(layer).get('data', Node({}, ''))))
        data = {key: value for key, value in known['data'].items() if key not in replaced}
        known |= expand_stored({'data': data}, environment)
    base = from_plain(known, 'checkpoint')
    return compose_section(Deployment, (base, *layers), overrides)


def validate_deployment(tree: Node) -> Deployment:
    """
    Convert a tree of keys to a deployment.

    :raises InvalidExperimentError: with all problems.
    """
    return validate_section(tree, Deployment)


def _read_experiment(experiment: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Copy the sections of a stored experiment that an export needs."""
    return {
        key: dict(experiment[key])
        for key in FROM_EXPERIMENT
        if isinstance(experiment.get(key), dict)
    }


def _read_documents(bundle: Bundle) -> dict[str, bytes]:
    """Read the files of a bundle that are neither networks nor golden frames."""
    manifest = bundle.manifest
    used = {item.path for item in manifest.artefacts} | {item.path for item in manifest.golden}
    return {file.path: bundle.read(file.path) for file in manifest.files if file.path not in used}


def _rebase(node: Node, section: type[Section], folder: Path) -> Node:
    """Make the paths in a section relative to the working directory."""
    keys = dict(children(node))
    for name, field in section.model_fields.items():
        if name not in keys:
            continue
        extra, child = field.json_schema_extra, keys[name]
        items = child.value if isinstance(child.value, tuple) else (child,)
        if isinstance(extra, dict) and 'path' in extra:
            items = tuple(replace(item, value=_join(folder, item.value)) for item in items)
        else:
            classes = (field.annotation, *get_args(field.annotation))
            inner = next((cls for cls in classes if _is_section(cls)), None)
            items = tuple(_rebase(item, inner, folder) for item in items) if inner else items
        keys[name] = replace(child, value=items) if isinstance(child.value, tuple) else items[0]
    return replace(node, value=keys) if keys else node


def _is_section(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Section)


def _join(folder: Path, value: Any) -> Any:
    """Join a path with its folder, unless it is an address, or empty for none."""
    if not isinstance(value, str) or not value or '://' in value:
        return value
    return str(folder / Path(value).expanduser())
