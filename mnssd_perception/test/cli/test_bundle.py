"""``mnssd bundle`` on sound, changed and different bundles."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
import re
from typing import Any

from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    Manifest,
    open_bundle,
    write_bundle,
)
from mnssd_perception.cli import bundle as cli
import pytest

Capture = pytest.CaptureFixture[str]
Make = Callable[..., Path]
Shipped = tuple[Manifest, dict[str, bytes]]
DIGEST = 'sha256:' + '0' * 64
GATE = GateVerdict(True, (), 'a test', 224, DIGEST, 0.42, 0.427, 180, 3)
FP32 = Artefact('network.onnx', 'onnxruntime', 'fp32', gate=GATE)


@pytest.fixture(scope='module')
def shipped(fp32_bundle: Path) -> Shipped:
    """Read the shipped model, with one network."""
    bundle = open_bundle(fp32_bundle)
    return bundle.manifest, {
        entry.path: bundle.read(entry.path) for entry in bundle.manifest.files
    }


@pytest.fixture
def make(tmp_path: Path, shipped: Shipped) -> Make:
    """Write the shipped model as a bundle of schema 2, with some changes."""
    manifest, files = shipped

    def make(
        name: str = 'made.mnssd',
        *,
        network: bytes = b'not a network',
        more: dict[str, bytes] | None = None,
        **changes: Any,
    ) -> Path:
        contents = files | {'network.onnx': network} | (more or {})
        changes = {'schema': 2, 'artefacts': (FP32,), 'files': file_entries(contents)} | changes
        write_bundle(tmp_path / name, replace(manifest, **changes), contents)
        return tmp_path / name

    return make


@pytest.fixture
def make_real(make: Make, shipped: Shipped) -> Make:
    """Write it with its network."""
    pytest.importorskip('onnxruntime')
    return lambda **changes: make(network=shipped[1]['network.onnx'], **changes)


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_sound_bundle_is_verified(make: Make, shipped: Shipped, capsys: Capture) -> None:
    path = make()
    digest = open_bundle(path).digest
    assert run('verify', path, '--digest', digest) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f'hit_uav {shipped[0].version}: schema 2, {len(shipped[1])} files, 1 artefacts, '
        'all as in the manifest',
        digest,
    ]


def test_another_digest_is_refused(make: Make, capsys: Capture) -> None:
    assert run('verify', make(), '--digest', DIGEST) == 1
    assert f"expected the digest '{DIGEST}'" in capsys.readouterr().err


@pytest.mark.parametrize('verb', [('verify',), ('verify', '--self-test'), ('inspect',)])
def test_a_damaged_bundle_is_refused(verb: tuple[str, ...], make: Make, capsys: Capture) -> None:
    path = make()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run(*verb, path) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: bundle '")
    assert not captured.out


def test_a_missing_bundle_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert run('verify', tmp_path / 'none.mnssd') == 1
    assert 'no such file or directory' in capsys.readouterr().err


def test_the_self_test_runs_every_artefact_that_it_can(
    make_real: Make, shipped: Shipped, capsys: Capture
) -> None:
    path = make_real(
        artefacts=(
            FP32,
            replace(FP32, engine='later', precision='int8'),
        )
    )
    assert run('verify', path, '--self-test') == 0
    out = capsys.readouterr().out.splitlines()[2:]
    assert [line.partition(':')[0] for line in out] == ['ok', 'not available']
    golden = shipped[0].golden
    found = int(re.search(r'finds (\d+) detections in 3 golden frames', out[0])[1])
    assert abs(found - sum(len(frame.boxes) for frame in golden)) <= 6
    assert out[1] == "not available: later (int8), network.onnx: this mnssd has no engine 'later'"


def test_one_artefact_can_be_tested(make_real: Make, capsys: Capture) -> None:
    path = make_real(artefacts=(FP32, replace(FP32, engine='later')))
    for arguments in (('--engine', 'onnxruntime'), ('--engine', 'auto'), ('--precision', 'fp32')):
        assert run('verify', path, '--self-test', *arguments) == 0
    capsys.readouterr()
    assert run('verify', path, '--self-test', '--precision', 'int8') == 1
    assert 'has no artefact in int8' in capsys.readouterr().err
    assert run('verify', path, '--self-test', '--engine', 'onnxrunetime') == 1
    assert 'engine: expected one of' in capsys.readouterr().err


def test_a_network_that_detects_other_things_is_refused(
    make_real: Make, shipped: Shipped, capsys: Capture
) -> None:
    (frame, *_) = shipped[0].golden
    moved = tuple((x1 + 90, y1, x2 + 90, y2) for x1, y1, x2, y2 in frame.boxes)
    assert run('verify', make_real(golden=(replace(frame, boxes=moved),)), '--self-test') == 1
    assert 'refused: onnxruntime (fp32), network.onnx: self-test of' in capsys.readouterr().out


def test_a_file_that_is_no_network_is_refused(make_real: Make, capsys: Capture) -> None:
    path = make_real(artefacts=(replace(FP32, path='NOTICE.md'), replace(FP32, precision='int8')))
    assert run('verify', path, '--self-test') == 1
    out = capsys.readouterr().out.splitlines()
    assert out[2].startswith('refused: onnxruntime (fp32), NOTICE.md: ')
    assert out[3].startswith('ok: ')


def test_golden_frames_that_prove_nothing_are_no_success(
    make_real: Make, shipped: Shipped, capsys: Capture
) -> None:
    assert run('verify', make_real(golden=()), '--self-test') == 1
    assert 'has no golden frames' in capsys.readouterr().err
    (frame, *_) = shipped[0].golden
    empty = replace(frame, score_threshold=0.999, boxes=(), scores=(), labels=())
    assert run('verify', make_real(golden=(empty,)), '--self-test') == 1
    assert 'without a clear detection prove nothing' in capsys.readouterr().out


def test_nothing_that_can_run_here_is_no_success(make: Make, capsys: Capture) -> None:
    assert run('verify', make(artefacts=(replace(FP32, engine='later'),)), '--self-test') == 1
    assert 'nothing was tested' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--engine=auto', '--precision=fp32'])
def test_an_engine_needs_the_self_test(option: str, make: Make, capsys: Capture) -> None:
    assert run('verify', make(), option) == 1
    assert 'expected --self-test with' in capsys.readouterr().err


def test_inspect_shows_the_gate(make: Make, shipped: Shipped, capsys: Capture) -> None:
    hailo = replace(FP32, path='NOTICE.md', engine='hailo', precision='int8', device='hailo8l')
    assert run('inspect', make(artefacts=(FP32, hailo))) == 0
    out = capsys.readouterr().out
    assert 'onnxruntime  fp32           1  network.onnx  0.00  42.0  +0.70  3 of 180' in out
    assert 'hailo8l' in out
    assert 'on 224 validation images' in out
    num_detections = sum(len(frame.boxes) for frame in shipped[0].golden)
    assert f'golden frames: 3, with {num_detections} detections' in out
    assert 'licence: CC-BY-4.0' in out


def test_inspect_shows_the_shipped_bundle(capsys: Capture) -> None:
    assert run('inspect') == 0
    assert 'classes: Person, Car, Bicycle, OtherVehicle' in capsys.readouterr().out


def test_inspect_hides_control_characters(make: Make, shipped: Shipped, capsys: Capture) -> None:
    path = make(provenance=replace(shipped[0].provenance, attribution='a\x1b[2Jb\nforged: line'))
    assert run('inspect', path) == 0
    assert 'attribution: a\\x1b[2Jb\\nforged: line\n' in capsys.readouterr().out


def test_inspect_as_json(make: Make, capsys: Capture) -> None:
    path = make()
    assert run('inspect', path, '--json') == 0
    told = json.loads(capsys.readouterr().out)
    assert told['digest'] == open_bundle(path).digest
    assert told['manifest']['artefacts'][0]['gate']['map50'] == 0.42


def test_equal_bundles_do_not_differ(make: Make, capsys: Capture) -> None:
    assert run('diff', make('a'), make('b')) == 0
    assert [line.partition(':')[0] for line in capsys.readouterr().out.splitlines()] == [
        'first',
        'second',
    ]


def test_diff_names_what_differs(make: Make, shipped: Shipped, capsys: Capture) -> None:
    manifest = shipped[0]
    second = make(
        'b',
        version='9.0',
        more={'network_int8.onnx': b'int8'},
        artefacts=(
            replace(FP32, gate=replace(GATE, map50=0.425)),
            replace(FP32, path='network_int8.onnx', precision='int8'),
        ),
        thresholds=replace(manifest.thresholds, score=0.5),
        golden=manifest.golden[:2],
    )
    assert run('diff', make('a'), second) == 1
    assert capsys.readouterr().out.splitlines()[2:] == [
        f'version: "{manifest.version}" -> "9.0"',
        'files[network_int8.onnx]: only in the second',
        'artefacts[onnxruntime fp32].gate.map50: 0.42 -> 0.425',
        'artefacts[onnxruntime int8]: only in the second',
        'thresholds.score: 0.35 -> 0.5',
        f'golden[{manifest.golden[2].path}]: only in the first',
    ]


def test_diff_of_a_bundle_of_schema_1(make: Make, fp32_bundle: Path, capsys: Capture) -> None:
    assert run('diff', fp32_bundle, make()) == 1
    out = capsys.readouterr().out
    assert 'schema: 1 -> 2\n' in out
    assert 'artefacts[onnxruntime fp32].gate: only in the second\n' in out


def test_another_text_of_the_same_manifest_is_a_difference(
    make: Make, tmp_path: Path, capsys: Capture
) -> None:
    first, second = make('a'), tmp_path / 'folder'
    bundle = open_bundle(first)
    for entry in bundle.manifest.files:
        (second / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (second / entry.path).write_bytes(bundle.read(entry.path))
    assert run('inspect', first, '--json') == 0
    text = json.dumps(json.loads(capsys.readouterr().out)['manifest'])
    (second / 'manifest.json').write_text(text)
    assert run('diff', first, second) == 1
    assert 'another text with the same content' in capsys.readouterr().out


def test_diff_of_what_is_no_bundle_is_trouble(make: Make, tmp_path: Path, capsys: Capture) -> None:
    assert run('diff', make(), tmp_path / 'none') == 2
    assert 'no such file or directory' in capsys.readouterr().err
