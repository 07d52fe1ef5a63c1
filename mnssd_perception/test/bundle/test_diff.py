"""Tests of comparing two manifests."""

from dataclasses import replace

from mnssd_perception.bundle import diff_manifests, FileEntry


def test_equal_manifests(manifest, manifest_1):
    assert diff_manifests(manifest, manifest) == []
    assert diff_manifests(manifest_1, manifest_1) == []


def test_a_value(manifest):
    other = replace(manifest, version='2', thresholds=replace(manifest.thresholds, score=0.5))
    assert diff_manifests(manifest, other) == [
        'version: "1.2.3" -> "2"',
        'thresholds.score: 0.4 -> 0.5',
    ]


def test_artefacts_are_paired_by_purpose(manifest):
    first = replace(manifest, artefacts=manifest.artefacts[:3])
    batch = replace(manifest.artefacts[3], device='x')
    second = replace(manifest, artefacts=(batch, *manifest.artefacts[1::-1]))
    assert diff_manifests(first, second) == [
        'artefacts[onnxruntime int8]: only in the first',
        'artefacts[onnxruntime int8, batch]: only in the second',
    ]
    third = replace(second, artefacts=(replace(batch, device='y'), *second.artefacts[1:]))
    assert diff_manifests(second, third) == [
        'artefacts[onnxruntime int8, batch].device: "x" -> "y"'
    ]


def test_several_artefacts_for_one_purpose_in_schema_1(manifest_1):
    twice = replace(manifest_1, artefacts=manifest_1.artefacts * 2)
    assert diff_manifests(manifest_1, twice) == [
        "artefacts[onnxruntime fp32']: only in the second"
    ]


def test_files_are_paired_by_path(manifest):
    last = manifest.files[-1]
    changed = FileEntry(last.path, last.size + 1, 'sha256:' + '1' * 64)
    other = replace(manifest, files=(changed, *manifest.files[:-1]))
    size, digest = diff_manifests(manifest, other)
    assert size == f'files[{last.path}].size: {last.size} -> {last.size + 1}'
    assert digest.startswith(f'files[{last.path}].sha256: "{last.sha256}" -> "sha256:1111')


def test_numbers_and_booleans_are_not_equal(manifest):
    first = replace(manifest, provenance=replace(manifest.provenance, experiment={'a': True}))
    second = replace(manifest, provenance=replace(manifest.provenance, experiment={'a': 1}))
    assert diff_manifests(first, second) == ['provenance.experiment.a: true -> 1']


def test_long_values_and_control_characters(manifest):
    experiment = {'a\n': 'b' * 500, 'c': '\x1b'}
    other = replace(manifest, provenance=replace(manifest.provenance, experiment=experiment))
    lines = diff_manifests(manifest, other)
    assert all(line.isprintable() and len(line) < 300 for line in lines)
    assert 'provenance.experiment.a\\n: only in the second' in lines
