"""Tests of the manifest: every rule, and every key by its name."""

from dataclasses import replace
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.bundle import FileEntry, GateVerdict, GoldenFrame
from mnssd_perception.bundle.manifest import manifest_to_plain, MAX_BYTES, read_manifest
from mnssd_perception.errors import MnssdError, SpecError
from mnssd_perception.ssd import Thresholds
import pytest

DIGEST = 'sha256:' + '0' * 64


@pytest.mark.parametrize('name', ['manifest', 'manifest_1'])
def test_json_round_trip(name, request):
    manifest = request.getfixturevalue(name)
    assert read_manifest(json.loads(json.dumps(manifest_to_plain(manifest)))) == manifest


def test_schema_1_has_its_own_keys(manifest_1):
    (artefact,) = manifest_to_plain(manifest_1)['artefacts']
    assert list(artefact) == ['path', 'engine', 'precision', 'toolchain', 'device', 'metrics']


@pytest.mark.parametrize(('key', 'value'), [('gate', None), ('has_batch', False)])
def test_keys_of_schema_2_are_refused_in_schema_1(manifest_1, key, value):
    plain = manifest_to_plain(manifest_1)
    plain['artefacts'][0][key] = value
    with pytest.raises(SpecError, match=rf"'{key}' at artefacts\[0\]; schema 2 has it"):
        read_manifest(plain)


@pytest.mark.parametrize('change', [{'has_batch': True}, {'gate': True}])
def test_a_manifest_of_schema_1_holds_nothing_of_schema_2(manifest_1, manifest, change):
    change = {'gate': manifest.artefacts[0].gate} if 'gate' in change else change
    with pytest.raises(SpecError, match='no gate and no has_batch in schema 1'):
        replace(manifest_1, artefacts=(replace(manifest_1.artefacts[0], **change),))


def test_schema_1_may_have_several_artefacts_for_one_purpose(manifest_1):
    replace(manifest_1, artefacts=manifest_1.artefacts * 2)


def test_defaults_need_not_be_written(plain):
    for key in ('thresholds', 'provenance', 'golden'):
        del plain[key]
    del plain['artefacts'][0]['toolchain']
    read = read_manifest(plain)
    assert read.thresholds == Thresholds()
    assert read.golden == ()


REQUIRED = (
    'schema', 'name', 'version', 'spec', 'num_priors', 'prior_digest', 'files', 'artefacts',
)  # fmt: skip


@pytest.mark.parametrize('key', REQUIRED)
def test_missing_keys_are_named(plain, key):
    del plain[key]
    with pytest.raises(SpecError, match=f"missing key '{key}'"):
        read_manifest(plain)


WRONG = [None, True, [1], {'a': 1}, 'text', -1, 0.5]


@pytest.mark.parametrize('key', [*REQUIRED[1:], 'thresholds', 'provenance', 'golden'])
@pytest.mark.parametrize('value', WRONG, ids=repr)
def test_wrong_values_are_named(plain, key, value):
    plain[key] = value
    if key in ('name', 'version'):
        plain[key] = value if value != 'text' else 'two words'
    with pytest.raises(SpecError, match=key):
        read_manifest(plain)


@pytest.mark.parametrize(
    ('where', 'name'),
    [
        (lambda plain: plain, 'the top level'),
        (lambda plain: plain['spec'], 'spec'),
        (lambda plain: plain['spec']['feature_maps'][0], r'spec.feature_maps\[0\]'),
        (lambda plain: plain['spec']['normalisation'], 'spec.normalisation'),
        (lambda plain: plain['files'][1], r'files\[1\]'),
        (lambda plain: plain['artefacts'][0], r'artefacts\[0\]'),
        (lambda plain: plain['artefacts'][0]['gate'], r'artefacts\[0\].gate'),
        (lambda plain: plain['thresholds'], 'thresholds'),
        (lambda plain: plain['provenance'], 'provenance'),
        (lambda plain: plain['golden'][0], r'golden\[0\]'),
    ],
)
def test_unknown_keys_are_named(plain, where, name):
    where(plain)['colour'] = 'red'
    with pytest.raises(SpecError, match=f"unknown key 'colour' at {name}"):
        read_manifest(plain)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda plain: plain.update(schema=3), 'expected schema 1 or 2, got 3; .* a newer mnssd'),
        (lambda plain: plain.update(schema=10**30), 'a newer mnssd'),
        (lambda plain: plain.update(schema=0), 'an older mnssd'),
        (lambda plain: plain.update(schema=True), 'int at schema'),
        (lambda plain: plain.update(schema=1.0), 'int at schema'),
        (lambda plain: plain.update(schema='1'), 'int at schema'),
        # The schema comes first: a newer manifest has keys that this mnssd does not know.
        (lambda plain: plain.update(schema=3, novelty=1), 'a newer mnssd'),
        (lambda plain: plain.update(name=''), 'name: expected letters'),
        (lambda plain: plain.update(name='a/b'), 'name: expected letters'),
        (lambda plain: plain.update(name='a\n'), 'name: expected letters'),
        (lambda plain: plain.update(name='x' * 65), 'name: expected letters'),
        (lambda plain: plain.update(version='-1'), 'version: expected letters'),
        (lambda plain: plain.update(num_priors=11), 'num_priors: expected 11, .* makes 12'),
        (lambda plain: plain.update(prior_digest=DIGEST), 'prior_digest: the priors are not'),
        (lambda plain: plain['spec'].update(input_size=[16, 25]), 'prior_digest: the priors'),
        (lambda plain: plain.update(artefacts=[]), 'artefacts: expected at least one'),
        (lambda plain: plain['artefacts'][0].update(path='x.onnx'), "'x.onnx' is not among"),
        (lambda plain: plain['golden'][0].update(path='x.jpg'), "'x.jpg' is not among"),
        (lambda plain: plain['golden'][0].update(labels=[2]), 'labels of 0 to 1'),
        (lambda plain: plain['golden'][0].update(labels=[-1]), 'labels of 0 to 1'),
        (lambda plain: plain['golden'][0].update(labels=[]), 'as many boxes as scores'),
        (lambda plain: plain['golden'][0].update(scores=[0.5, 0.4]), 'as many boxes as scores'),
        (lambda plain: plain['golden'][0].update(score_threshold=0), 'score_threshold'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, 3]]), r'golden\[0\].boxes\[0\]'),
        (lambda plain: plain['golden'][0].update(scores=[0.39]), 'scores of 0.4 to 1, got 0.39'),
        (lambda plain: plain['golden'][0].update(scores=[1.01]), 'scores of 0.4 to 1, got 1.01'),
        (lambda plain: plain['golden'][0].update(scores=[-0.9]), 'scores of 0.4 to 1, got -0.9'),
        (lambda plain: plain['golden'][0].update(scores=[float('nan')]), 'scores of 0.4 to 1'),
        (
            lambda plain: plain['golden'][0].update(
                boxes=[[1, 2, 3, 4]] * 2, scores=[0.5, 0.6], labels=[0, 0]
            ),
            'the best score first',
        ),
        (lambda plain: plain['golden'][0].update(boxes=[[3, 2, 1, 4]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, 3, 2]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, 1, 4]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[-0.5, 2, 3, 4]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, -0.5, 3, 4]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, 40000, 4]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, 3, float('nan')]]), 'boxes xyxy'),
        (lambda plain: plain['golden'][0].update(boxes=[[1, 2, float('inf'), 4]]), 'boxes xyxy'),
        (
            lambda plain: plain['golden'][0].update(
                boxes=[[1, 2, 3, 4]] * 51, scores=[0.5] * 51, labels=[0] * 51
            ),
            'at most 50 detections',
        ),
        (lambda plain: plain['golden'].append(plain['golden'][0]), 'golden: expected paths that'),
        (lambda plain: plain['thresholds'].update(score=7.0), 'thresholds: score_threshold'),
        (lambda plain: plain['thresholds'].update(iou=-1), 'thresholds: iou_threshold'),
        (lambda plain: plain['thresholds'].update(max_detections=0), 'thresholds: max_detect'),
        (lambda plain: plain['thresholds'].update(score=10**400), 'thresholds.score'),
        (lambda plain: plain['files'].append(plain['files'][0]), 'paths that differ'),
        (lambda plain: plain['files'][0].update(size=MAX_BYTES), 'bytes together'),
        (
            lambda plain: plain['files'].append(
                {'path': 'manifest.json', 'size': 0, 'sha256': DIGEST}
            ),
            'cannot list itself',
        ),
        (lambda plain: plain['artefacts'][0]['toolchain'].update(onnx=1), 'toolchain.onnx'),
        (lambda plain: plain['artefacts'][0].update(engine='a:b'), 'engine of small letters'),
        (lambda plain: plain['artefacts'][0].update(engine='A'), "letters, .* got 'A'"),
        (lambda plain: plain['artefacts'][0].update(engine=''), 'engine of small letters'),
        (lambda plain: plain['artefacts'][0].update(precision='fp8'), 'precision of fp32, bf16'),
        (lambda plain: plain['artefacts'][0].update(device='a\nb'), 'device of at most 64'),
        (lambda plain: plain['artefacts'][0].update(device='a' * 65), 'device of at most 64'),
        (
            lambda plain: plain['artefacts'].append(plain['artefacts'][1]),
            'one for openvino in fp32 without a batch dimension, got 2',
        ),
        (
            lambda plain: plain['artefacts'].append(plain['artefacts'][3]),
            'one for onnxruntime in int8 with a batch dimension, got 2',
        ),
        (lambda plain: plain['artefacts'][1].update(gate=None), "got the verdict 'none'"),
        (lambda plain: plain['artefacts'][1].pop('gate'), "got the verdict 'none'"),
        (
            lambda plain: plain['artefacts'][1]['gate'].update(passed=False, reasons=['a', 'b']),
            "network.onnx: expected an artefact that passed .* got the verdict 'a; b'",
        ),
        (lambda plain: plain['artefacts'][1]['gate'].update(passed=False), 'expected reasons if'),
        (lambda plain: plain['artefacts'][1]['gate'].update(reasons=['a']), 'expected reasons if'),
    ],
)
def test_contradictions_are_refused(plain, change, message):
    change(plain)
    with pytest.raises(SpecError, match=message):
        read_manifest(plain)


@pytest.mark.parametrize('plain', [None, [], '', 0, {}, {'schema': None}, {'schema': 1}])
def test_other_data_are_refused_as_a_manifest(plain):
    with pytest.raises(SpecError):
        read_manifest(plain)


@pytest.mark.parametrize(
    'path',
    [
        '', '.', '..', '/', '/a', '//a', './a', 'a/', 'a//b', 'a/./b', 'a/../b', '../a', 'a/..',
        'a\\b', '..\\a', '\\\\host\\a', 'C:a', 'C:/a', 'a\0b', 'a\nb', 'a\x7fb', '\u202eab',
        'a\ud800b', '~/a/../b',
    ],
    ids=ascii,
)  # fmt: skip
def test_unsafe_paths_are_refused(path):
    with pytest.raises(SpecError, match='a plain path inside the bundle'):
        FileEntry(path, 0, DIGEST)


@pytest.mark.parametrize('path', ['a', 'a/b', 'a.b', '...', '..a', 'für alle/ein bild.jpg', '~a'])
def test_plain_paths(path):
    FileEntry(path, 0, DIGEST)


@pytest.mark.parametrize('size', [-1, MAX_BYTES + 1, 10**30])
def test_invalid_sizes_are_refused(size):
    with pytest.raises(SpecError, match='bytes'):
        FileEntry('a', size, DIGEST)


@pytest.mark.parametrize(
    'digest', ['', 'sha256:', DIGEST[:-1], DIGEST + '0', DIGEST + '\n', DIGEST[7:], DIGEST.upper()]
)
def test_invalid_digests_are_refused(digest):
    with pytest.raises(SpecError, match='64 hexadecimal digits'):
        FileEntry('a', 0, digest)


@pytest.mark.parametrize('threshold', [0.0, 1.0, -1.0, float('nan')])
def test_golden_frames_without_a_valid_threshold_are_refused(threshold):
    with pytest.raises(SpecError, match='score_threshold'):
        GoldenFrame('a', threshold, (), (), ())


@pytest.mark.parametrize('score', [0.4, 0.4 - 10**-5, 1.0])  # rounded to five digits
def test_golden_scores_may_be_rounded_to_the_threshold(score):
    GoldenFrame('a', 0.4, ((0.0, 0.0, 32766.0, 32766.0),), (score,), (0,))
    with pytest.raises(SpecError, match='scores of 0.4 to 1'):
        GoldenFrame('a', 0.4, ((0.0, 0.0, 1.0, 1.0),), (0.399985,), (0,))


def verdict(**changes):
    values = {
        'passed': True, 'reasons': (), 'scored_with': 'engine', 'num_images': 1,
        'dataset_digest': DIGEST, 'map50': 0.0, 'map50_checkpoint': 1.0, 'num_detections': 0,
        'num_changed': 0,
    }  # fmt: skip
    return GateVerdict(**(values | changes))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('scored_with', ''), ('scored_with', 'a\nb'), ('num_images', 0), ('num_images', -1),
        ('dataset_digest', ''), ('dataset_digest', DIGEST[:-1]), ('map50', -0.01),
        ('map50', 1.01), ('map50', float('nan')), ('map50_checkpoint', 43.0),
        ('map50_checkpoint', float('inf')), ('num_detections', -1), ('num_changed', -1),
    ],
)  # fmt: skip
def test_impossible_verdicts_are_refused(key, value):
    with pytest.raises(SpecError, match=f'gate.{key}: expected'):
        verdict(**{key: value})


@pytest.mark.parametrize('map50', [0.0, 0.5, 1.0])
def test_drop_is_in_points_of_ap(map50):
    assert verdict(map50=map50).drop == pytest.approx(100 * (1 - map50))
    assert verdict(map50=1.0, map50_checkpoint=map50).drop <= 0


def test_limits_may_be_reached(plain):
    assert MAX_BYTES == 2**30
    total = sum(entry['size'] for entry in plain['files'])
    plain['files'].append({'path': 'large', 'size': MAX_BYTES - total, 'sha256': DIGEST})
    plain['golden'][0].update(boxes=[[0, 0, 3, 4]] * 50, scores=[0.5] * 50, labels=[0] * 50)
    assert len(read_manifest(plain).golden[0].scores) == plain['thresholds']['max_detections']


def test_many_files_and_artefacts(plain):
    plain['files'] = [{'path': f'{n}', 'size': 0, 'sha256': DIGEST} for n in range(2000)]
    artefact = plain['artefacts'][0]
    plain['artefacts'] = [{**artefact, 'path': f'{n}', 'engine': f'e{n}'} for n in range(2000)]
    plain['golden'] = []
    assert len(read_manifest(plain).files) == 2000


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def places(plain, path=()):
    """List every place in plain data."""
    items = (
        plain.items() if isinstance(plain, dict)
        else enumerate(plain) if isinstance(plain, list) else ()
    )  # fmt: skip
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data):
    plain = json.loads(SMALL)
    *parents, last = data.draw(st.sampled_from(list(places(plain))))
    place = plain
    for key in parents:
        place = place[key]
    place[last] = data.draw(anything)
    try:
        read_manifest(plain)
    except MnssdError as error:
        assert str(error)
        str(error).encode()  # can be shown


SMALL = json.dumps(
    {
        'schema': 2,
        'name': 'small',
        'version': '1',
        'spec': {
            'input_size': [8, 8],
            'class_names': ['car'],
            'feature_maps': [{'shape': [1, 1], 'stride': [8.0, 8.0], 'sizes': [[4.0, 4.0]]}],
        },
        'num_priors': 1,
        'prior_digest': (
            'sha256:1dc5c8e021c663cd8f7ecf1fb0c6d4112bc8d7f3c9e0095cd26bd7af7b8d7f13'
        ),
        'files': [{'path': 'a', 'size': 0, 'sha256': DIGEST}],
        'artefacts': [
            {
                'path': 'a',
                'engine': 'onnxruntime',
                'precision': 'fp32',
                'gate': {
                    'passed': True,
                    'reasons': [],
                    'scored_with': 'an engine',
                    'num_images': 1,
                    'dataset_digest': DIGEST,
                    'map50': 0.5,
                    'map50_checkpoint': 0.5,
                    'num_detections': 1,
                    'num_changed': 0,
                },
            }
        ],
        'golden': [{'path': 'a', 'score_threshold': 0.5, 'boxes': [], 'scores': [], 'labels': []}],
    }
)


def test_that_manifest_is_sound():
    assert read_manifest(json.loads(SMALL)).name == 'small'
