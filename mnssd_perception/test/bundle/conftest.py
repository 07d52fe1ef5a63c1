"""A small bundle, as an archive and as a directory."""

from collections.abc import Callable, Mapping
from dataclasses import replace
import hashlib
import json
from pathlib import Path
from typing import Any
import zipfile

from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    GoldenFrame,
    Manifest,
    Provenance,
)
from mnssd_perception.bundle.manifest import manifest_to_plain
from mnssd_perception.ssd import FeatureMap, ModelSpec, prior_digest, Thresholds
import pytest

DIGEST = 'sha256:' + '0' * 64
GATE = GateVerdict(
    True, (), 'onnxruntime 1.31.1, fp32, x86_64 CPU', 10, DIGEST, 0.43, 0.431, 99, 2
)
FILES = {
    'network.onnx': b'not really a network ' * 40,
    'network_int8.onnx': b'not really small' * 9,
    'card.md': '# Model card, für alle\n'.encode(),
    'golden/one.jpg': bytes(range(256)),
    'empty.txt': b'',
}


@pytest.fixture
def files() -> dict[str, bytes]:
    """Content of the bundle."""
    return dict(FILES)


@pytest.fixture
def manifest(files: dict[str, bytes]) -> Manifest:
    """Its manifest, in schema 2."""
    spec = ModelSpec(
        (16, 24), ('car', 'van'), (FeatureMap((2, 3), (8.0, 8.0), ((8.0, 8.0), (4.0, 9.5))),)
    )
    return Manifest(
        schema=2,
        name='small',
        version='1.2.3',
        spec=spec,
        num_priors=12,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=(
            Artefact('network.onnx', 'onnxruntime', 'fp32', {'onnx': '1.2'}, gate=GATE),
            Artefact('network.onnx', 'openvino', 'fp32', gate=GATE),
            Artefact('network_int8.onnx', 'onnxruntime', 'int8', gate=GATE),
            Artefact('network_int8.onnx', 'onnxruntime', 'int8', has_batch=True, gate=GATE),
        ),
        thresholds=Thresholds(0.4, 0.6, 50),
        provenance=Provenance('some images', licence='CC-BY-4.0', experiment={'a': [1, None]}),
        golden=(GoldenFrame('golden/one.jpg', 0.4, ((1.0, 2.0, 3.5, 4.0),), (0.9,), (1,)),),
    )


@pytest.fixture
def manifest_1(manifest: Manifest) -> Manifest:
    """Its manifest, in schema 1."""
    artefact = replace(manifest.artefacts[0], gate=None)
    return replace(manifest, schema=1, artefacts=(artefact,))


@pytest.fixture
def plain(manifest: Manifest) -> dict[str, Any]:
    """Its manifest as plain data, to be spoilt."""
    return manifest_to_plain(manifest)


def _zip(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write an archive without asking what is in it."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _directory(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a directory without asking what is in it."""
    path.mkdir()
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.fixture(params=[_zip, _directory], ids=['zip', 'directory'])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Write members as an archive, and again as a directory."""
    return lambda members: request.param(tmp_path / 'made.mnssd', members)


@pytest.fixture
def members(plain: dict[str, Any], files: dict[str, bytes]) -> dict[str, bytes]:
    """Manifest and files, to be spoilt and then stored."""
    return {'manifest.json': json.dumps(plain).encode(), **files}


@pytest.fixture
def resealed(plain: dict[str, Any]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """Give spoilt files a manifest that fits them, as a forger would."""

    def reseal(files: dict[str, bytes]) -> dict[str, bytes]:
        listed = [
            {
                'path': name,
                'size': len(content),
                'sha256': f'sha256:{hashlib.sha256(content).hexdigest()}',
            }
            for name, content in files.items()
        ]
        return {'manifest.json': json.dumps(plain | {'files': listed}).encode(), **files}

    return reseal
