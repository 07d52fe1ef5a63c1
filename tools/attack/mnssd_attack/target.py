"""What is attacked: the shipped bundle, its detector, and a light copy of it to damage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
import json
from pathlib import Path
import zipfile

from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    file_entries,
    open_bundle,
    shipped_bundle_path,
)
from mnssd_perception.detector import Detector
from mnssd_perception.engines import EngineOptions, open_engine
from mnssd_perception.plain import to_plain
from mnssd_perception.ssd import Detections, Thresholds
import numpy as np

__all__ = ['make_target', 'Target']


@dataclass(frozen=True)
class Target:
    """
    What is attacked.

    :ivar bundle: the shipped one.
    :ivar model: its network.
    :ivar detector: of it, with a low threshold so that there is something to post-process.
    :ivar members: path to content of a light bundle, manifest included.
    :ivar place: where damaged bundles are written.
    """

    bundle: Bundle
    model: bytes
    detector: Detector
    members: Mapping[str, bytes]
    place: Path

    def write_archive(self, members: Mapping[str, bytes]) -> None:
        """Write members to :attr:`place`, as they are."""
        with zipfile.ZipFile(self.place, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    def check(self, found: Detections, size: tuple[int, ...]) -> None:
        """
        Hold detections against what they promise.

        :param found: the detections.
        :param size: (height, width) of the image.
        """
        edges = np.array([*size[::-1], *size[::-1]])
        assert found.boxes.shape == (len(found), 4)
        assert np.isfinite(found.boxes).all()
        assert ((found.boxes >= 0) & (found.boxes <= edges)).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert ((found.labels >= 0) & (found.labels < len(self.detector.class_names))).all()


def make_target(folder: Path) -> Target:
    """
    Get everything ready.

    :param folder: to write damaged bundles in.
    :return: the target.
    """
    bundle = open_bundle(shipped_bundle_path())
    detector = Detector(bundle, open_engine(bundle, options=EngineOptions(1)), Thresholds(0.05))
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    model = bundle.read(artefact.path)
    golden = bundle.manifest.golden[:1]
    files = {'network.onnx': model[:20_000], 'card.md': b'# Card\n'}
    files |= {frame.path: bundle.read(frame.path) for frame in golden}
    manifest = replace(
        bundle.manifest,
        files=file_entries(files),
        artefacts=(Artefact('network.onnx', 'onnxruntime', 'fp32'),),
        golden=golden,
    )
    members = {'manifest.json': json.dumps(to_plain(manifest)).encode(), **files}
    return Target(bundle, model, detector, members, folder / 'damaged.mnssd')
