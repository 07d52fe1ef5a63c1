"""Tests of the outputs of networks that end at the convolutions of their heads."""

from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.engines.head_maps import list_head_maps, match_head_maps
from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import FeatureMap, ModelSpec
import numpy as np
import pytest

SPEC = ModelSpec(
    (64, 96),
    ('a', 'b'),
    (
        FeatureMap((2, 3), (32.0, 32.0), ((20.0, 20.0), (30.0, 20.0))),
        FeatureMap((1, 1), (64.0, 96.0), ((60.0, 60.0),)),
    ),
)


def no_names(name):
    raise AssertionError('the shapes are enough')


def test_no_outputs():
    with pytest.raises(
        EngineError, match=r"expected .* outputs \{'logits_0': \(2, 3, 6\).*got \{"
    ):
        match_head_maps(SPEC, {}, no_names)


def test_list():
    maps = list_head_maps(SPEC)
    assert [(item.name, item.shape, item.priors) for item in maps] == [
        ('logits_0', (2, 3, 6), slice(0, 12)),
        ('logits_1', (1, 1, 3), slice(12, 13)),
        ('offsets_0', (2, 3, 8), slice(0, 12)),
        ('offsets_1', (1, 1, 4), slice(12, 13)),
    ]


@st.composite
def specs(draw):
    sides = st.integers(1, 4)
    levels = [
        FeatureMap(
            (draw(sides), draw(sides)),
            (8.0, 8.0),
            tuple((8.0 + index, 8.0) for index in range(draw(st.integers(1, 3)))),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    classes = tuple('abcde'[: draw(st.integers(1, 5))])
    return ModelSpec((32, 32), classes, tuple(levels))


@given(specs(), st.randoms(use_true_random=False))
def test_views_fill_all_heads_once_and_names_tell_all_maps(spec, random):
    heads = (
        np.zeros((spec.num_priors, spec.num_classes + 1), np.float32),
        np.zeros((spec.num_priors, 4), np.float32),
    )
    maps = list_head_maps(spec)
    for item in maps:
        item.view(heads)[...] += 1
    assert (heads[0] == 1).all()
    assert (heads[1] == 1).all()
    shuffled = list(maps)
    random.shuffle(shuffled)
    outputs = {f'conv{index}': item.shape for index, item in enumerate(shuffled)}
    names = {f'conv{index}': ['x', item.name] for index, item in enumerate(shuffled)}
    matched = match_head_maps(spec, outputs, names.__getitem__)
    assert matched == {f'conv{index}': item for index, item in enumerate(shuffled)}


def test_shapes_are_enough_where_they_differ_and_may_lack_leading_ones():
    outputs = {'d': (4,), 'c': (3,), 'b': (2, 3, 8), 'a': (2, 3, 6)}
    matched = match_head_maps(SPEC, outputs, no_names)
    names = {name: item.name for name, item in matched.items()}
    assert names == {'a': 'logits_0', 'b': 'offsets_0', 'c': 'logits_1', 'd': 'offsets_1'}


@pytest.mark.parametrize(
    'outputs',
    [
        {'a': (2, 3, 6), 'b': (2, 3, 8), 'c': (3,)},
        {'a': (2, 3, 6), 'b': (2, 3, 8), 'c': (3,), 'd': (4,), 'e': (5,)},
        {'a': (3, 2, 6), 'b': (2, 3, 8), 'c': (3,), 'd': (4,)},
        {'a': (2, 3, 6, 1), 'b': (2, 3, 8), 'c': (3,), 'd': (4,)},
    ],
)
def test_other_outputs_are_refused(outputs):
    with pytest.raises(EngineError, match='expected a network with the outputs'):
        match_head_maps(SPEC, outputs, no_names)


@pytest.mark.parametrize('names', [['x'], ['logits_0'], []])
def test_ambiguous_outputs_are_refused(names):
    spec = ModelSpec(SPEC.input_size, ('a', 'b', 'c'), SPEC.feature_maps[1:])
    with pytest.raises(EngineError, match="to be called '(logits|offsets)_0' in ONNX, got"):
        match_head_maps(spec, {'a': (4,), 'b': (4,)}, lambda name: names)
