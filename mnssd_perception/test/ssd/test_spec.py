"""Tests of the model specification."""

import json

from mnssd_perception.errors import SpecError
from mnssd_perception.serialization import from_plain, to_plain
from mnssd_perception.ssd import feature_map, FeatureMap, ModelSpec, Normalisation
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
import pytest

LEVEL = FeatureMap((2, 3), (8.0, 8.0), ((10.0, 10.0), (20.0, 10.0)))


def spec(**changes):
    """Make a small specification."""
    return ModelSpec(
        **{'input_size': (16, 24), 'class_names': ('car', 'van'), 'feature_maps': (LEVEL,)}
        | changes
    )


def test_counts():
    assert LEVEL.num_priors == 12
    made = spec(feature_maps=(LEVEL, FeatureMap((1, 1), (16.0, 24.0), ((9.0, 9.0),))))
    assert made.num_priors == 13
    assert made.num_classes == 2


@pytest.mark.parametrize(
    ('size', 'stride', 'shape'),
    [
        ((300, 300), 8, (38, 38)),
        ((300, 300), 224, (2, 2)),
        ((320, 400), 32, (10, 13)),
        ((1, 1), 8, (1, 1)),
    ],
)
def test_grids_are_rounded_up(size, stride, shape):
    level = feature_map(size, stride, ((1.0, 1.0),))
    assert level.shape == shape
    assert level.stride == (stride, stride)


@pytest.mark.parametrize(
    ('shape', 'stride', 'sizes', 'message'),
    [
        ((0, 3), (8.0, 8.0), ((1.0, 1.0),), 'at least one cell'),
        ((2, -1), (8.0, 8.0), ((1.0, 1.0),), 'at least one cell'),
        ((2, 3), (0.0, 8.0), ((1.0, 1.0),), 'positive strides'),
        ((2, 3), (8.0, float('nan')), ((1.0, 1.0),), 'positive strides'),
        ((2, 3), (8.0, float('inf')), ((1.0, 1.0),), 'positive strides'),
        ((2, 3), (8.0, 8.0), (), 'at least one prior size'),
        ((2, 3), (8.0, 8.0), ((1.0, 0.0),), 'greater than 0'),
        ((2, 3), (8.0, 8.0), ((1.0, 1.0), (float('nan'), 1.0)), 'greater than 0'),
    ],
)
def test_invalid_feature_maps_are_refused(shape, stride, sizes, message):
    with pytest.raises(SpecError, match=message):
        FeatureMap(shape, stride, sizes)


@pytest.mark.parametrize(
    'changes',
    [
        {'std': (0.0, 1.0, 1.0)},
        {'std': (1.0, float('nan'), 1.0)},
        {'mean': (0.0, 0.0, float('inf'))},
    ],
)
def test_invalid_normalisations_are_refused(changes):
    with pytest.raises(SpecError):
        Normalisation(**changes)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'input_size': (0, 24)}, 'sides of 1 to 8192'),
        ({'input_size': (16, 8193)}, 'sides of 1 to 8192'),
        ({'input_size': (4097, 4096)}, 'at most 16777216 pixels'),
        ({'class_names': ()}, 'at least one class'),
        ({'class_names': ('car', 'car')}, 'class names that differ'),
        ({'class_names': ('car', ' ')}, 'printable class names'),
        ({'class_names': ('car', 'a\nb')}, 'printable class names'),
        ({'class_names': ('car', '\ud800')}, 'printable class names'),
        ({'feature_maps': ()}, 'at least one feature map'),
        ({'variances': (0.1, 0.0)}, 'variances greater than 0'),
        ({'variances': (float('nan'), 0.2)}, 'variances greater than 0'),
        (
            {
                'feature_maps': (FeatureMap((1000, 1000), (8.0, 8.0), ((1.0, 1.0),)),),
                'class_names': tuple(map(str, range(33))),
            },
            'at most 33554432 logits, got 1000000 priors of 33 classes',
        ),
        ({'feature_maps': (FeatureMap((10**9, 10**9), (8.0, 8.0), ((1.0, 1.0),)),)}, 'at most'),
    ],
)
def test_invalid_specifications_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        spec(**changes)


def grid(rows, columns):
    return (FeatureMap((rows, columns), (0.5, 0.25), ((0.5, 0.5),)),)


@pytest.mark.parametrize(
    'changes',
    [
        {'input_size': (1, 8192)},
        {'input_size': (4096, 4096)},
        {'input_size': (8192, 2048)},
        {'feature_maps': grid(1000, 1000), 'class_names': ('a',)},
        {'feature_maps': grid(512, 1024), 'class_names': tuple(map(str, range(63)))},
    ],
    ids=['side', 'pixels', 'more rows than columns', 'priors', 'logits'],
)
def test_the_largest_specifications_are_accepted(changes):
    spec(**changes)


def test_one_prior_too_many_is_refused():
    with pytest.raises(SpecError, match='at most 1000000 priors, got 1000001'):
        spec(feature_maps=grid(101, 9901))


def test_defaults():
    imagenet = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert spec() == spec(resize='stretch', normalisation=imagenet, variances=(0.1, 0.2))
    assert MAX_IMAGE_SIDE == 32766  # OpenCV's remapping overflows above


def test_json_round_trip():
    made = spec(resize='letterbox', variances=(0.1, 0.25))
    assert from_plain(ModelSpec, json.loads(json.dumps(to_plain(made))), SpecError) == made


def test_defaults_need_not_be_written():
    plain = to_plain(spec())
    for key in ('resize', 'normalisation', 'variances'):
        del plain[key]
    assert from_plain(ModelSpec, plain, SpecError) == spec()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda plain: plain.pop('input_size'), "missing key 'input_size'"),
        (lambda plain: plain.update(stride=8), "unknown key 'stride'"),
        (lambda plain: plain.update(resize='crop'), 'at resize'),
        (lambda plain: plain.update(resize=['stretch']), 'at resize'),
        (lambda plain: plain.update(input_size=[300]), '2 values at input_size'),
        (lambda plain: plain.update(input_size=[300.0, 300]), r'int at input_size\[0\]'),
        (lambda plain: plain.update(input_size='300'), 'a list at input_size'),
        (lambda plain: plain.update(class_names=['car', 7]), r'str at class_names\[1\]'),
        (lambda plain: plain.update(variances=[True, 0.2]), r'float at variances\[0\]'),
        (lambda plain: plain.update(variances=[10**400, 0.2]), 'smaller number at variances'),
        (lambda plain: plain.update(normalisation=None), 'an object at normalisation'),
        (
            lambda plain: plain['feature_maps'][0].pop('stride'),
            r"missing key 'feature_maps\[0\].stride'",
        ),
        (
            lambda plain: plain['feature_maps'][0].update(size=1),
            r"unknown key 'size' at feature_maps\[0\]",
        ),
    ],
)
def test_errors_name_the_key(change, message):
    plain = to_plain(spec())
    change(plain)
    with pytest.raises(SpecError, match=message):
        from_plain(ModelSpec, plain, SpecError)


@pytest.mark.parametrize('plain', [None, [], 'spec', 7, {}])
def test_other_data_are_refused_as_a_specification(plain):
    with pytest.raises(SpecError):
        from_plain(ModelSpec, plain, SpecError)
