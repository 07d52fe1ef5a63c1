"""Tests of the priors: golden vectors, the counts of the presets and their digests."""

from mnssd_perception.ssd import (
    FeatureMap,
    finetune_feature_maps,
    generate_priors,
    ModelSpec,
    original_feature_maps,
    prior_digest,
    scale_sizes,
    ssdlite_feature_maps,
)
import numpy as np
import pytest


def spec(input_size, *levels):
    """Make a specification of some levels."""
    return ModelSpec(input_size, ('thing',), levels)


def test_golden_cells_and_sizes():
    made = spec((8, 16), FeatureMap((1, 2), (8.0, 8.0), ((4.0, 2.0), (2.0, 4.0))))
    golden = [
        [0.25, 0.5, 0.25, 0.25],
        [0.25, 0.5, 0.125, 0.5],
        [0.75, 0.5, 0.25, 0.25],
        [0.75, 0.5, 0.125, 0.5],
    ]
    np.testing.assert_array_equal(generate_priors(made), np.array(golden, np.float32))


def test_golden_rows_before_columns_and_levels_in_order():
    made = spec(
        (16, 16),
        FeatureMap((2, 2), (8.0, 8.0), ((8.0, 8.0),)),
        FeatureMap((1, 1), (16.0, 16.0), ((16.0, 8.0),)),
    )
    golden = [
        [0.25, 0.25, 0.5, 0.5],
        [0.75, 0.25, 0.5, 0.5],
        [0.25, 0.75, 0.5, 0.5],
        [0.75, 0.75, 0.5, 0.5],
        [0.5, 0.5, 1.0, 0.5],
    ]
    np.testing.assert_array_equal(generate_priors(made), np.array(golden, np.float32))


def test_golden_strides_of_their_own():
    made = spec((10, 20), FeatureMap((2, 1), (4.0, 12.0), ((20.0, 10.0),)))
    golden = [[0.3, 0.2, 1, 1], [0.3, 0.6, 1, 1]]
    np.testing.assert_array_equal(generate_priors(made), np.array(golden, np.float32))


def test_clipped_in_centre_form():
    made = spec((8, 8), FeatureMap((2, 2), (8.0, 8.0), ((80.0, 2.0),)))
    golden = [
        [0.5, 0.5, 1, 0.25],
        [1, 0.5, 1, 0.25],
        [0.5, 1, 1, 0.25],
        [1, 1, 1, 0.25],
    ]
    np.testing.assert_array_equal(generate_priors(made), np.array(golden, np.float32))


def test_shared_and_read_only():
    made = spec((8, 8), FeatureMap((1, 1), (8.0, 8.0), ((4.0, 4.0),)))
    priors = generate_priors(made)
    assert priors.dtype == np.float32
    assert generate_priors(spec((8, 8), FeatureMap((1, 1), (8.0, 8.0), ((4.0, 4.0),)))) is priors
    with pytest.raises(ValueError, match='read-only'):
        priors[0] = 0


PRESETS = [
    (
        original_feature_maps,
        300,
        (8664, 3610, 1000, 150, 54, 24),
        'sha256:775c3b9277801f45e7e168fc44ba3e4a269f7ceec6a1597018c8e604cfb38dfa',
    ),
    (
        original_feature_maps,
        224,
        (4704, 1960, 490, 96, 24, 6),
        'sha256:a59fd4d1370857806de618964ceb040d05a49a4882e849f18cd8a75f46f55a60',
    ),
    (
        finetune_feature_maps,
        320,
        (6400, 2400, 600, 150, 36, 16),
        'sha256:5ece4ae310d66086160e5a96a837313cd26106b912cf9c935e34b11570195791',
    ),
    (
        ssdlite_feature_maps,
        320,
        (2400, 600, 150, 54, 24, 6),
        'sha256:1dad1e3536be810f4483783886ab8dc67093a12b00dc1fdddaa10cb5c73c31dd',
    ),
]


@pytest.mark.parametrize(('preset', 'side', 'counts', 'digest'), PRESETS)
def test_presets(preset, side, counts, digest):
    made = spec((side, side), *preset((side, side)))
    assert tuple(level.num_priors for level in made.feature_maps) == counts
    assert made.num_priors == sum(counts) in (13502, 7280, 9602, 3234)
    assert generate_priors(made).shape == (made.num_priors, 4)
    assert prior_digest(made) == digest


@pytest.mark.parametrize(
    ('preset', 'shape'), [(finetune_feature_maps, (25, 57)), (ssdlite_feature_maps, (13, 29))]
)
def test_cells_divide_an_input_of_any_aspect_evenly(preset, shape):
    levels = preset((200, 450))
    assert levels[0].shape == shape
    for level, finer in zip(levels[1:], levels):
        assert level.shape == tuple(-(-side // 2) for side in finer.shape)
    for level in levels:
        np.testing.assert_allclose(np.multiply(level.shape, level.stride), (200, 450))


def test_original_sizes():
    # Scale 0.20 and its geometric mean with 0.35, each crossed with 1, 2 and 1/2.
    first = original_feature_maps((300, 300))[0]
    golden = [
        (60, 60),
        (84.852814, 42.426407),
        (42.426407, 84.852814),
        (79.372539, 79.372539),
        (112.249722, 56.124861),
        (56.124861, 112.249722),
    ]
    np.testing.assert_allclose(first.sizes, golden, rtol=1e-7)


@pytest.mark.parametrize(
    'preset', [original_feature_maps, finetune_feature_maps, ssdlite_feature_maps]
)
def test_presets_follow_the_aspect_of_the_input(preset):
    wide, square = preset((200, 400)), preset((200, 200))
    for level, other in zip(wide, square, strict=True):
        np.testing.assert_allclose(np.array(level.sizes) / (2, 1), other.sizes)
        assert level.shape[0] == other.shape[0]


def test_scale_sizes():
    assert scale_sizes((100, 200), []) == ()
    sizes = scale_sizes((100, 200), [(0.5, 1.0), (0.5, 4.0)])
    assert sizes == ((100.0, 50.0), (200.0, 25.0))


def test_digest_tells_priors_apart():
    level = FeatureMap((2, 2), (8.0, 8.0), ((4.0, 4.0),))
    other = FeatureMap((2, 2), (8.0, 8.0), ((4.0, 4.0001),))
    assert prior_digest(spec((16, 16), level)) != prior_digest(spec((16, 16), other))
    assert prior_digest(spec((16, 16), level)) == (
        'sha256:02a2d416c6e877aed7de0783e314fd3c2097cfc49077386451075248d3151824'
    )
