"""Bundles: everything that the drone needs of a trained model, in one verified file."""

from mnssd_perception.bundle.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.bundle.diff import diff_manifests
from mnssd_perception.bundle.manifest import (
    Artefact,
    FileEntry,
    GateVerdict,
    GoldenFrame,
    Manifest,
    manifest_to_plain,
    PRECISIONS,
    Provenance,
)
from mnssd_perception.bundle.writer import file_entries, write_bundle

__all__ = [
    'Artefact',
    'Bundle',
    'diff_manifests',
    'file_entries',
    'FileEntry',
    'GateVerdict',
    'GoldenFrame',
    'Manifest',
    'manifest_to_plain',
    'open_bundle',
    'PRECISIONS',
    'Provenance',
    'shipped_bundle_path',
    'write_bundle',
]
