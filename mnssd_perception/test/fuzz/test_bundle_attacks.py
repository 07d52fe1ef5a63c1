"""
Attacks on a bundle of schema 2, followed into the runtime that would load its networks.

The real bundle code and the real engine run; only the last call, with which ONNX Runtime gets the
bytes of a network, is recorded and ends there. Each attack must be refused before that call, or
provably have no effect: the bundle has the same digest, and the runtime gets the same bytes.

``FUZZ_COUNT`` sets the number of attacks; ``pytest -rP`` prints how many of which were refused.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
import hashlib
import io
import json
from pathlib import Path
import re
import struct
from typing import Any
from unittest import mock
import warnings
import zipfile

from fuzzing import fuzz_settings, refusal, ShortBytes
from hypothesis import assume, given
from hypothesis import strategies as st
from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    GoldenFrame,
    Manifest,
    manifest_to_plain,
    open_bundle,
)
from mnssd_perception.engines import EngineOptions, ENGINES, open_engine
from mnssd_perception.errors import EngineError, MnssdError
from mnssd_perception.ssd import feature_map, ModelSpec, prior_digest
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

MANIFEST = 'manifest.json'
ZERO_DIGEST = f'sha256:{0:064}'
GATE = GateVerdict(True, (), 'a test', 10, ZERO_DIGEST, 0.4, 0.4, 9, 0)
LOADED: list[bytes] = []

# What each reason ends with in a report.
DETAILS = (
    "codec can't decode", 'while decompressing data', 'and header', 'got', ': line', 'a/a/a',
    'expected N to N bytes', 'Corrupt extra field', 'supported are', 'File <ZipInfo',
)  # fmt: skip

UNSAFE_PATHS = (
    '../network.onnx', '/network.onnx', '..', '.', '', './network.onnx', 'a/../network.onnx',
    'a//network.onnx', 'golden/', '..\\network.onnx', 'C:\\network.onnx', 'C:network.onnx',
    '\\\\host\\network.onnx', '//host/network.onnx', 'a\nnetwork.onnx', 'network.onnx\0.png',
    '\u202exnno.krowten', 'a/' * 300 + '..', '/proc/self/environ', 'network.onnx/../../x',
)  # fmt: skip
OTHER_NAMES = (
    'MANIFEST.JSON', 'Network.onnx', 'network.onnx ', ' network.onnx', 'network.onnx.', 'extra',
    'network.onnx.data', 'netwo\u0072\u0301k.onnx', '\uff4eetwork.onnx', 'golden/1.JPG', '.hidden',
    'a.mnssd',
)  # fmt: skip
LINK, PIPE, DEVICE, SOCKET = 0o120777, 0o010644, 0o020666, 0o140777
EXTREMES = (0, 1, 7, 8, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)

# A path of keys, and the value that a forger writes there.
FORGED_VALUES: tuple[tuple[tuple[str | int, ...], Any], ...] = (
    (('schema',), 1),
    (('schema',), 3),
    (('schema',), 2.0),
    (('signature',), 'trust me'),
    (('artefacts', 0, 'gate'), None),
    (('artefacts', 0, 'gate', 'passed'), False),
    (('artefacts', 0, 'gate', 'reasons'), ['worse']),
    (('artefacts', 0, 'gate', 'map50'), 40.0),
    (('artefacts', 0, 'gate', 'map50'), None),
    (('artefacts', 0, 'gate', 'map50_checkpoint'), -0.1),
    (('artefacts', 0, 'gate', 'num_images'), 0),
    (('artefacts', 0, 'gate', 'num_changed'), -1),
    (('artefacts', 0, 'gate', 'dataset_digest'), 'sha256:'),
    (('artefacts', 0, 'gate', 'limits'), {}),
    (('artefacts', 0, 'engine'), 'onnxruntime:cuda'),
    (('artefacts', 0, 'engine'), '../engine'),
    (('artefacts', 0, 'precision'), 'fp8'),
    (('artefacts', 0, 'has_batch'), 1),
    (('artefacts', 0, 'device'), 'x' * 65),
    (('artefacts', 0, 'path'), 'manifest.json'),
    (('artefacts', 0, 'path'), '/etc/passwd'),
    (('artefacts', 1, 'precision'), 'fp32'),
    (('golden', 0, 'path'), '../1.jpg'),
    (('golden', 0, 'scores', 0), 2.0),
    (('num_priors',), 1),
    (('prior_digest',), ZERO_DIGEST),
    (('spec', 'input_size'), [8192, 8192]),
)


def make_network(location: str = '') -> bytes:
    """Make a network with random weights, which are in another file if a location is given."""
    weights = np.random.default_rng(1).random((16, 16)).astype(np.float32)
    tensor = onnx.numpy_helper.from_array(weights, 'weights')
    if location:
        tensor.ClearField('raw_data')
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value=location)
    image = onnx.helper.make_tensor_value_info('image', onnx.TensorProto.FLOAT, (16, 16))
    logits = onnx.helper.make_tensor_value_info('logits', onnx.TensorProto.FLOAT, (16, 16))
    node = onnx.helper.make_node('MatMul', ['image', 'weights'], ['logits'])
    graph = onnx.helper.make_graph([node], 'network', [image], [logits], [tensor])
    opset = onnx.helper.make_opsetid('', 17)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset])
    return bytes(model.SerializeToString())


@lru_cache
def valid_files() -> dict[str, bytes]:
    """Make a bundle with two networks."""
    spec = ModelSpec((32, 32), ('a', 'b'), (feature_map((32, 32), 16, ((9.0, 9.0),)),))
    noise = np.random.default_rng(2)
    network = make_network()
    files = {
        'network.onnx': network,
        'network_int8.onnx': network + b'\x1a\x00',  # doc_string: the same network, other bytes
        'golden/1.jpg': noise.bytes(500),
        'card.md': b'# A model\n' * 20,
    }
    manifest = Manifest(
        schema=2,
        name='small',
        version='1',
        spec=spec,
        num_priors=spec.num_priors,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=(
            Artefact('network.onnx', 'onnxruntime', 'fp32', gate=GATE),
            Artefact('network_int8.onnx', 'onnxruntime', 'int8', gate=GATE),
        ),
        golden=(GoldenFrame('golden/1.jpg', 0.3, ((1.0, 2.0, 9.0, 9.0),), (0.9,), (1,)),),
    )
    return {MANIFEST: json.dumps(manifest_to_plain(manifest)).encode(), **files}


def valid_manifest() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(valid_files()[MANIFEST])
    return plain


def pack(
    members: dict[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    **attributes: Any,  # of every member
) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
        for name, content in members.items():
            archive.writestr(make_member(name, method, **attributes), content)
    return packed.getvalue()


def make_member(name: str, method: int = zipfile.ZIP_DEFLATED, **attributes: Any) -> Any:
    member = zipfile.ZipInfo('a', (1980, 1, 1, 0, 0, 0))
    member.filename = name  # as it is: the constructor cuts it at a NUL
    member.compress_type = method
    for key, value in attributes.items():
        setattr(member, key, value)
    return member


def append(name: str, content: bytes, **attributes: Any) -> bytes:
    """Add a member to the valid archive, also under a name that it has already."""
    packed = io.BytesIO(pack(valid_files()))
    with warnings.catch_warnings(), zipfile.ZipFile(packed, 'a') as archive:
        warnings.simplefilter('ignore')
        archive.writestr(make_member(name, **attributes), content)
    return packed.getvalue()


def resign(manifest: dict[str, Any], files: dict[str, bytes]) -> dict[str, bytes]:
    """Give a manifest the sizes and digests of the files, as a forger would."""
    listed = [
        {
            'path': name,
            'size': len(content),
            'sha256': f'sha256:{hashlib.sha256(content).hexdigest()}',
        }
        for name, content in files.items()
        if name != MANIFEST
    ]
    return files | {MANIFEST: json.dumps(manifest | {'files': listed}).encode()}


def record(network: bytes, *args: Any, **kwargs: Any) -> None:
    LOADED.append(bytes(network))
    raise RuntimeError('recorded')


def load(path: Path) -> None:
    """
    Open a bundle and each of its networks, up to the call that loads it.

    A bundle with another sound manifest is another bundle. It is refused by the digest that a
    drone can pin, not by what it holds.
    """
    import onnxruntime

    LOADED.clear()
    valid = valid_files()
    # Other tests load networks in the same process.
    with mock.patch.object(onnxruntime, 'InferenceSession', record):
        try:
            bundle = open_bundle(path)
            for artefact in bundle.manifest.artefacts:
                num_before = len(LOADED)
                try:
                    if artefact.engine in ENGINES:
                        open_engine(bundle, artefact.engine, EngineOptions(1), artefact.precision)
                except EngineError:
                    if len(LOADED) == num_before:
                        raise
        except MnssdError as error:
            assert not LOADED, f'a runtime has loaded a network before: {error}'
            raise
    open_bundle(path, f'sha256:{hashlib.sha256(valid[MANIFEST]).hexdigest()}')
    assert [valid['network.onnx'], valid['network_int8.onnx']] == LOADED


Draw = st.DrawFn


def flip_bytes(draw: Draw) -> bytes:
    content = bytearray(pack(valid_files()))
    for _ in range(draw(st.integers(1, 8))):
        content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(content)


def truncate(draw: Draw) -> bytes:
    content = pack(valid_files())
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    way = draw(st.sampled_from(['end', 'start', 'middle']))
    if way == 'end':
        return content[: min(end, len(content) - 1)]
    return content[max(start, 1) :] if way == 'start' else content[:start] + content[end + 1 :]


def forge_header(draw: Draw) -> bytes:
    content = pack(valid_files())
    starts = [match.start() for match in re.finditer(b'PK[\1\3\5][\2\4\6]', content)]
    start = draw(st.sampled_from(starts)) + draw(st.integers(4, 45))
    value = draw(st.sampled_from(EXTREMES))
    field = struct.pack('<I' if value > 0xFFFF else draw(st.sampled_from(['<H', '<I'])), value)
    return (content[:start] + field + content[start + len(field) :])[: len(content)]


def name_member(draw: Draw) -> bytes:
    name = draw(
        st.sampled_from((*UNSAFE_PATHS, *OTHER_NAMES)).filter(lambda name: name[-1:] != '/')
    )
    if draw(st.booleans()):
        return append(name, draw(st.sampled_from([b'', make_network()])))
    old = draw(st.sampled_from(sorted(valid_files())))
    return pack({name if key == old else key: value for key, value in valid_files().items()})


def list_path(draw: Draw) -> bytes:
    """List an unsafe path in a manifest that fits its files, and let an artefact use it."""
    path = draw(st.sampled_from(UNSAFE_PATHS))
    files = dict(valid_files())
    files[path] = files.pop('network.onnx')
    manifest = valid_manifest()
    manifest['artefacts'][0]['path'] = path
    return pack(resign(manifest, files))


def add_special_file(draw: Draw) -> bytes:
    mode = draw(st.sampled_from([LINK, PIPE, DEVICE, SOCKET])) << 16
    name = draw(st.sampled_from([*valid_files(), 'extra']))
    target = draw(st.sampled_from([b'/etc/passwd', b'network.onnx', b'', b'..']))
    if name == 'extra' or draw(st.booleans()):
        return append(name, target, external_attr=mode)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
        for key, content in valid_files().items():
            attributes = {'external_attr': mode} if key == name else {}
            archive.writestr(make_member(key, **attributes), target if attributes else content)
    return packed.getvalue()


def duplicate_member(draw: Draw) -> bytes:
    name = draw(st.sampled_from(sorted(valid_files())))
    return append(name, draw(st.sampled_from([valid_files()[name], b'', make_network('x')])))


def use_archive_feature(draw: Draw) -> bytes:
    files, content = valid_files(), pack(valid_files())
    end = content[-22:]
    way = draw(
        st.sampled_from(['comment', 'zip64', 'lzma', 'bzip2', 'encrypted', 'nested', 'tail'])
    )
    if way == 'comment':
        comment = draw(st.binary(min_size=1, max_size=60))
        return content[:-2] + struct.pack('<H', len(comment)) + comment
    if way == 'zip64':
        record_64 = struct.pack('<4sQ2H2L4Q', b'PK\6\6', 44, 45, 45, 0, 0, 4, 4, 200, 0)
        locator = struct.pack('<4sLQL', b'PK\6\7', 0, len(content) - 22, 1)
        return content[:-22] + record_64 + locator + end
    if way in ('lzma', 'bzip2'):
        return pack(files, zipfile.ZIP_LZMA if way == 'lzma' else zipfile.ZIP_BZIP2)
    if way == 'encrypted':
        return _set_flags(content, 1)
    if way == 'nested':
        return draw(st.sampled_from([append('a.mnssd', content), pack({'a.mnssd': content})]))
    return content + draw(st.binary(min_size=1, max_size=60))


def _set_flags(content: bytes, flags: int) -> bytes:
    changed = bytearray(content)
    for signature, offset in ((b'PK\1\2', 8), (b'PK\3\4', 6)):
        for match in re.finditer(re.escape(signature), content):
            changed[match.start() + offset] |= flags
    return bytes(changed)


def announce_size(draw: Draw) -> bytes:
    name = draw(st.sampled_from(sorted(set(valid_files()) - {MANIFEST})))
    manifest, files = valid_manifest(), dict(valid_files())
    if draw(st.booleans()):  # a bomb, announced rightly or not
        files[name] = bytes(draw(st.sampled_from([1 << 20, 17 << 20])))
        if draw(st.booleans()) and len(files[name]) > 16 << 20:
            return pack(resign(manifest, files))
    else:
        sizes = [0, 1, 1 << 20, 1 << 29, 1 << 30, (1 << 30) + 1, 1 << 61, 10**400, -1]
        entry = next(entry for entry in manifest['files'] if entry['path'] == name)
        entry['size'] = draw(st.sampled_from(sizes))
        files[MANIFEST] = json.dumps(manifest).encode()
    return pack(files)


def forge_value(draw: Draw) -> bytes:
    keys, value = draw(st.sampled_from(FORGED_VALUES))
    manifest = parent = valid_manifest()
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    return pack(valid_files() | {MANIFEST: json.dumps(manifest).encode()})


def spoil_manifest(draw: Draw) -> bytes:
    content = bytearray(valid_files()[MANIFEST])
    start = draw(st.integers(0, len(content) - 1))
    if draw(st.booleans()):
        content[start] ^= draw(st.integers(1, 255))
    else:
        del content[start : start + draw(st.integers(1, 50))]
    return pack(valid_files() | {MANIFEST: bytes(content)})


def refer_to_other_file(draw: Draw) -> bytes:
    """Put in a network with external data, with valid digests."""
    location = draw(st.sampled_from(['card.md', '/etc/passwd', '../x', 'x' * 999, '\u202ea']))
    files = valid_files() | {'network.onnx': make_network(location)}
    return pack(resign(valid_manifest(), files))


def repack(draw: Draw) -> bytes:
    """Pack the same files in another way, which no reader may notice."""
    files = dict(draw(st.permutations(list(valid_files().items()))))
    way = draw(st.sampled_from(['order', 'stored', 'before', 'comments', 'extra', 'folders']))
    if way == 'stored':
        return pack(files, zipfile.ZIP_STORED)
    if way == 'before':
        return draw(st.binary(min_size=1, max_size=60)) + pack(files)
    if way == 'comments':
        return pack(files, comment=draw(st.binary(max_size=20)))
    if way == 'extra':
        return pack(files, extra=struct.pack('<HH4s', 0x7A7A, 4, b'abcd'))
    if way == 'folders':
        return pack({'golden/': b'', **files, '../': b'', '/': b''})
    return pack(files)


ATTACKS = {
    'byte flips': flip_bytes,
    'truncation': truncate,
    'forged zip header': forge_header,
    'name of a member': name_member,
    'path in the manifest': list_path,
    'link or special file': add_special_file,
    'duplicate member': duplicate_member,
    'feature of archives': use_archive_feature,
    'size': announce_size,
    'value in the manifest': forge_value,
    'spoilt manifest': spoil_manifest,
    'external ONNX data': refer_to_other_file,
    'packed otherwise': repack,
}
# Some hit bytes that nobody reads.
MAY_BE_HARMLESS = {'byte flips', 'truncation', 'forged zip header'}
HARMLESS = {'packed otherwise'}
# Some make another sound manifest, such as one with another name of the model.
NEEDS_PINNED_DIGEST = {'spoilt manifest'}
PINNED = 'expected the digest'
OFTEN = ('byte flips', 'truncation', 'forged zip header', 'name of a member')


@st.composite
def attacks(draw: Draw) -> tuple[str, bytes]:
    name = draw(st.sampled_from([*ATTACKS, *OFTEN, *OFTEN]))
    content = ShortBytes(ATTACKS[name](draw))
    assume(content != pack(valid_files()))
    return name, content


@pytest.fixture
def outcomes() -> Iterator[Counter[tuple[str, str]]]:
    counter: Counter[tuple[str, str]] = Counter()
    yield counter
    print(f'\n{sum(counter.values())} attacks')
    for (name, outcome), count in sorted(counter.items()):
        print(f'{count:6d}  {name:<22}  {outcome}')


def test_networks_of_the_valid_bundle_reach_the_runtime(tmp_path: Path) -> None:
    (tmp_path / 'a.mnssd').write_bytes(pack(valid_files()))
    assert refusal(load, tmp_path / 'a.mnssd') == ''


def test_another_network_with_valid_digests_is_refused_by_a_pinned_digest(tmp_path: Path) -> None:
    files = valid_files() | {'network.onnx': valid_files()['network_int8.onnx']}
    (tmp_path / 'a.mnssd').write_bytes(pack(resign(valid_manifest(), files)))
    assert PINNED in refusal(load, tmp_path / 'a.mnssd')


@fuzz_settings()
@given(attack=attacks())
def test_attack_is_refused_before_a_runtime_loads_a_byte(
    tmp_path: Path, outcomes: Counter[tuple[str, str]], attack: tuple[str, bytes]
) -> None:
    name, content = attack
    path = tmp_path / 'attacked.mnssd'
    path.write_bytes(content)
    reason = refusal(load, path)
    assert not reason.endswith(': ')
    outcomes[name, shorten(reason) if reason else 'no effect'] += 1
    assert reason or name in MAY_BE_HARMLESS | HARMLESS
    assert PINNED not in reason or name in NEEDS_PINNED_DIGEST
    assert not reason or name not in HARMLESS, reason


def shorten(reason: str) -> str:
    """Leave out what differs between refusals of one kind."""
    text = re.sub(r"^bundle '[^']*': ", '', reason)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", '...', text)
    text = re.sub(r'\d+', 'N', text)
    return re.sub(f'({"|".join(DETAILS)}).*', r'\1', text)[:70]
