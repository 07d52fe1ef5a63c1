"""Prior sizes clustered from boxes, and laid out over inputs of other sizes."""

from collections.abc import Callable

from mnssd_perception.ssd import (
    feature_map,
    FeatureMap,
    finetune_feature_maps,
    generate_priors,
    ModelSpec,
    original_feature_maps,
    resize_transform,
)
from mnssd_training.data import Sample
from mnssd_training.priors import (
    best_possible_recall,
    cluster_sizes,
    clustered_feature_maps,
    network_sizes,
    spec_at,
)
import numpy as np
import pytest


def clustered(input_size: tuple[int, int]) -> tuple[FeatureMap, ...]:
    sizes = (((10.0, 16.0), (20.0, 12.0)), ((40.0, 30.0),), ((60.0, 60.0),), ((120.0, 90.0),))
    return tuple(feature_map(input_size, 8 << i, size) for i, size in enumerate(sizes))


def blobs(centres: list[tuple[float, float]], num: int = 200) -> np.ndarray:
    generator = np.random.default_rng(3)
    return np.concatenate([generator.normal(centre, 0.3, (num, 2)) for centre in centres])


def test_clusters_are_found() -> None:
    centres = [(8.0, 14.0), (30.0, 12.0), (40.0, 44.0)]
    found = cluster_sizes(blobs(centres), 3, np.random.default_rng(0))
    np.testing.assert_allclose(found, centres, atol=0.3)


def test_clusters_of_equal_sizes() -> None:
    found = cluster_sizes(np.full((50, 2), 7.0), 4, np.random.default_rng(0))
    assert (found == 7.0).all()


def test_clusters_are_the_same_each_time() -> None:
    sizes = np.random.default_rng(1).uniform(4, 90, (500, 2))
    one, other = (cluster_sizes(sizes, 5, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, other)
    assert (np.diff(one.prod(axis=1)) >= 0).all()


def test_clustering_beats_its_first_guess() -> None:
    sizes = np.random.default_rng(1).lognormal(3, 0.5, (800, 2))
    guess = sizes[np.random.default_rng(4).choice(800, 6, replace=False)]
    found = cluster_sizes(sizes, 6, np.random.default_rng(4))

    def fit(centres: np.ndarray) -> float:
        shared = np.minimum(sizes[:, None], centres).prod(axis=2)
        union = sizes.prod(axis=1)[:, None] + centres.prod(axis=1) - shared
        return float((shared / union).max(axis=1).mean())

    assert fit(found) > fit(guess)


@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
def test_sizes_are_those_that_the_network_sees(
    make_sample: Callable[..., Sample], resize: str
) -> None:
    samples = [
        make_sample([(0, 0, 64, 51.2), (10, 10, 20, 40)], [0, 1], size=(512, 640)),
        make_sample(size=(100, 100)),
        make_sample([(5, 5, 25, 15)], [0], size=(100, 400)),
    ]
    sizes = network_sizes(samples, (320, 320), resize)
    wanted = []
    for sample in samples:
        boxes = resize_transform(sample.size, (320, 320), resize).to_input(sample.boxes) * 320
        wanted.append(boxes[:, 2:] - boxes[:, :2])
    np.testing.assert_allclose(sizes, np.concatenate(wanted), rtol=1e-4)
    assert sizes.shape == (3, 2)


def test_no_boxes_at_all(make_sample: Callable[..., Sample]) -> None:
    sizes = network_sizes([make_sample()], (320, 320))
    assert sizes.shape == (0, 2)
    levels = clustered_feature_maps(sizes, (320, 320), (8, 16), (5, 2), seed=0)
    assert [len(level.sizes) for level in levels] == [5, 2]
    assert levels[0].sizes[0] == (24.0, 24.0)
    assert best_possible_recall(sizes, levels) == 1.0


def test_each_level_clusters_its_own_boxes() -> None:
    sizes = blobs([(10.0, 16.0), (20.0, 12.0), (40.0, 50.0), (120.0, 90.0)])
    levels = clustered_feature_maps(sizes, (320, 400), (8, 16, 32), (2, 1, 1), seed=0)
    np.testing.assert_allclose(levels[0].sizes, [(10, 16), (20, 12)], atol=0.3)
    np.testing.assert_allclose(levels[1].sizes, [(40, 50)], atol=0.3)
    np.testing.assert_allclose(levels[2].sizes, [(120, 90)], atol=0.3)
    assert [level.shape for level in levels] == [(40, 50), (20, 25), (10, 13)]
    assert best_possible_recall(sizes, levels) == 1.0
    assert best_possible_recall(sizes * 8, levels) < 1.0


def test_the_specification_takes_them(train_samples: list[Sample]) -> None:
    sizes = network_sizes(train_samples, (160, 200))
    levels = clustered_feature_maps(sizes, (160, 200), (8, 16, 32), (2, 2, 2), seed=0)
    assert ModelSpec((160, 200), ('a',), levels).num_priors == 2 * (20 * 25 + 10 * 13 + 5 * 7)


# --- other sizes of the input ----------------------------------------------------------------


@pytest.mark.parametrize(
    'layout',
    [original_feature_maps, finetune_feature_maps, clustered],
    ids=['original', 'finetune', 'clustered'],
)
@pytest.mark.parametrize('own', [(300, 300), (320, 320), (224, 224), (512, 640)], ids=str)
def test_a_specification_at_another_size(
    layout: Callable[[tuple[int, int]], tuple[FeatureMap, ...]], own: tuple[int, int]
) -> None:
    spec = ModelSpec(own, ('a', 'b'), layout(own))
    assert spec_at(spec, own) is spec
    for size in [(320, 400), (96, 672), (300, 308), (32, 32)]:
        other = spec_at(spec, size)
        assert other.input_size == size
        assert spec_at(spec, size) is other  # and with it its priors, which are kept
        assert [level.sizes for level in other.feature_maps] == [
            level.sizes for level in spec.feature_maps
        ]
        # What convolutions of stride 2, one after the other, make of the input.
        rows, columns = (-(-side // 8) for side in size)
        for level in other.feature_maps:
            assert level.shape == (rows, columns)
            rows, columns = -(-rows // 2), -(-columns // 2)


def test_cells_that_share_the_input_evenly_do_so_at_another_size() -> None:
    spec = spec_at(ModelSpec((300, 300), ('a',), finetune_feature_maps((300, 300))), (200, 260))
    for level in spec.feature_maps:
        assert level.stride == (200 / level.shape[0], 260 / level.shape[1])


def test_a_stride_that_no_halving_makes() -> None:
    level = feature_map((100, 100), 12, ((5.0, 5.0),))
    assert spec_at(ModelSpec((100, 100), ('a',), (level,)), (60, 90)).feature_maps == (
        feature_map((60, 90), 12, ((5.0, 5.0),)),
    )


def test_the_priors_at_another_size_are_those_of_a_window() -> None:
    spec = ModelSpec((512, 640), ('a',), clustered((512, 640)))
    inner = spec_at(spec, (256, 320))

    def pixels(one: ModelSpec) -> set[tuple[float, ...]]:
        height, width = one.input_size
        scaled = generate_priors(one) * np.array((width, height) * 2)
        return {tuple(row) for row in scaled.round(2).tolist()}

    assert pixels(inner) <= pixels(spec)
