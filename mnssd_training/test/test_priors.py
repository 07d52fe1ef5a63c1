"""Priors: published layouts, clusters of box sizes, and other input sizes."""

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
from mnssd_training.config import Experiment, InputConfig, PriorsConfig
from mnssd_training.data import Sample
from mnssd_training.priors import (
    cluster_sizes,
    clustered_feature_maps,
    make_feature_maps,
    make_spec,
    measure_box_sizes,
    resize_spec,
)
import numpy as np
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


def clustered(input_size: tuple[int, int]) -> tuple[FeatureMap, ...]:
    sizes = (((10.0, 16.0), (20.0, 12.0)), ((40.0, 30.0),), ((60.0, 60.0),), ((120.0, 90.0),))
    return tuple(feature_map(input_size, 8 << i, size) for i, size in enumerate(sizes))


def blobs(centres: list[tuple[float, float]], num: int = 200) -> np.ndarray:
    generator = np.random.default_rng(3)
    return np.concatenate([generator.normal(centre, 0.3, (num, 2)) for centre in centres])


def test_k_means_finds_the_clusters() -> None:
    centres = [(8.0, 14.0), (30.0, 12.0), (40.0, 44.0)]
    clusters = cluster_sizes(blobs(centres), 3, np.random.default_rng(0))
    np.testing.assert_allclose(clusters, centres, atol=0.3)


def test_clusters_of_equal_sizes() -> None:
    clusters = cluster_sizes(np.full((50, 2), 7.0), 4, np.random.default_rng(0))
    assert (clusters == 7.0).all()


def test_clustering_is_deterministic() -> None:
    sizes = np.random.default_rng(1).uniform(4, 90, (500, 2))
    one, other = (cluster_sizes(sizes, 5, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, other)
    assert (np.diff(one.prod(axis=1)) >= 0).all()


def test_seed_of_the_priors_wins_over_that_of_the_run() -> None:
    sizes = np.random.default_rng(1).uniform(4, 30, (500, 2))

    def layout(seed: int | None, run_seed: int) -> tuple[FeatureMap, ...]:
        priors = PriorsConfig(strides=(8,), priors_per_cell=(5,), seed=seed)
        return make_feature_maps(priors, InputConfig(), sizes, run_seed)

    assert layout(None, 1) != layout(None, 2)
    assert layout(1, 2) == layout(1, 3) == layout(None, 1)


def test_clustering_beats_its_first_guess() -> None:
    sizes = np.random.default_rng(1).lognormal(3, 0.5, (800, 2))
    guess = sizes[np.random.default_rng(4).choice(800, 6, replace=False)]
    clusters = cluster_sizes(sizes, 6, np.random.default_rng(4))

    def fit(centres: np.ndarray) -> float:
        shared = np.minimum(sizes[:, None], centres).prod(axis=2)
        union = sizes.prod(axis=1)[:, None] + centres.prod(axis=1) - shared
        return float((shared / union).max(axis=1).mean())

    assert fit(clusters) > fit(guess)


@pytest.mark.parametrize('resize', ['stretch', 'letterbox'])
def test_box_sizes_are_measured_in_the_network_input(
    make_sample: Callable[..., Sample], resize: str
) -> None:
    samples = [
        make_sample([(0, 0, 64, 51.2), (10, 10, 20, 40)], [0, 1], size=(512, 640)),
        make_sample(size=(100, 100)),
        make_sample([(5, 5, 25, 15)], [0], size=(100, 400)),
    ]
    sizes = measure_box_sizes(samples, (320, 320), resize)
    expected = []
    for sample in samples:
        boxes = resize_transform(sample.size, (320, 320), resize).to_input(sample.boxes) * 320
        expected.append(boxes[:, 2:] - boxes[:, :2])
    np.testing.assert_allclose(sizes, np.concatenate(expected), rtol=1e-4)
    assert sizes.shape == (3, 2)


def test_levels_without_boxes_get_default_priors(make_sample: Callable[..., Sample]) -> None:
    sizes = measure_box_sizes([make_sample()], (320, 320))
    assert sizes.shape == (0, 2)
    levels = clustered_feature_maps(sizes, (320, 320), (8, 16), (5, 2), seed=0)
    assert [len(level.sizes) for level in levels] == [5, 2]
    assert levels[0].sizes[0] == (24.0, 24.0)


def test_each_level_clusters_the_boxes_of_its_size() -> None:
    sizes = blobs([(10.0, 16.0), (20.0, 12.0), (40.0, 50.0), (120.0, 90.0)])
    levels = clustered_feature_maps(sizes, (320, 400), (8, 16, 32), (2, 1, 1), seed=0)
    np.testing.assert_allclose(levels[0].sizes, [(10, 16), (20, 12)], atol=0.3)
    np.testing.assert_allclose(levels[1].sizes, [(40, 50)], atol=0.3)
    np.testing.assert_allclose(levels[2].sizes, [(120, 90)], atol=0.3)
    assert [level.shape for level in levels] == [(40, 50), (20, 25), (10, 13)]


def test_clustered_feature_maps_fit_a_specification(train_samples: list[Sample]) -> None:
    sizes = measure_box_sizes(train_samples, (160, 200))
    levels = clustered_feature_maps(sizes, (160, 200), (8, 16, 32), (2, 2, 2), seed=0)
    assert ModelSpec((160, 200), ('a',), levels).num_priors == 2 * (20 * 25 + 10 * 13 + 5 * 7)


# --- other sizes of the input ----------------------------------------------------------------


@pytest.mark.parametrize(
    'layout',
    [original_feature_maps, finetune_feature_maps, clustered],
    ids=['original', 'finetune', 'clustered'],
)
@pytest.mark.parametrize('own', [(300, 300), (320, 320), (224, 224), (512, 640)], ids=str)
def test_resized_spec_has_the_grids_of_the_network(
    layout: Callable[[tuple[int, int]], tuple[FeatureMap, ...]], own: tuple[int, int]
) -> None:
    spec = ModelSpec(own, ('a', 'b'), layout(own))
    assert resize_spec(spec, own) is spec
    for size in [(320, 400), (96, 672), (300, 308), (32, 32)]:
        other = resize_spec(spec, size)
        assert other.input_size == size
        assert resize_spec(spec, size) is other  # and with it its priors, which are kept
        assert [level.sizes for level in other.feature_maps] == [
            level.sizes for level in spec.feature_maps
        ]
        # What convolutions of stride 2, one after the other, make of the input.
        rows, columns = (-(-side // 8) for side in size)
        for level in other.feature_maps:
            assert level.shape == (rows, columns)
            rows, columns = -(-rows // 2), -(-columns // 2)


def test_resized_spec_keeps_even_cells() -> None:
    spec = resize_spec(
        ModelSpec((300, 300), ('a',), finetune_feature_maps((300, 300))), (200, 260)
    )
    for level in spec.feature_maps:
        assert level.stride == (200 / level.shape[0], 260 / level.shape[1])


def test_resized_spec_keeps_a_stride_that_is_no_power_of_two() -> None:
    level = feature_map((100, 100), 12, ((5.0, 5.0),))
    assert resize_spec(ModelSpec((100, 100), ('a',), (level,)), (60, 90)).feature_maps == (
        feature_map((60, 90), 12, ((5.0, 5.0),)),
    )


def test_priors_of_a_smaller_input_are_a_subset() -> None:
    spec = ModelSpec((512, 640), ('a',), clustered((512, 640)))
    inner = resize_spec(spec, (256, 320))

    def pixels(one: ModelSpec) -> set[tuple[float, ...]]:
        height, width = one.input_size
        scaled = generate_priors(one) * np.array((width, height) * 2)
        return {tuple(row) for row in scaled.round(2).tolist()}

    assert pixels(inner) <= pixels(spec)


# --- specifications of experiments -------------------------------------------------------------


def test_spec_without_boxes_has_priors_of_three_cells(
    experiment: Callable[..., Experiment],
) -> None:
    spec = make_spec(experiment(), [], NAMES)
    assert [level.sizes[0] for level in spec.feature_maps] == [
        (3 * level.stride[0], 3 * level.stride[0]) for level in spec.feature_maps
    ]


def test_spec_clusters_the_training_boxes(
    experiment: Callable[..., Experiment], train_samples: list[Sample]
) -> None:
    settings = experiment(priors__variances='[0.2, 0.3]')
    spec = make_spec(settings, train_samples, NAMES)
    assert spec == make_spec(settings, list(train_samples), NAMES)
    assert spec.input_size == settings.input.size
    assert spec.class_names == NAMES
    assert spec.variances == (0.2, 0.3)


@pytest.mark.parametrize(
    ('layout', 'size', 'num'),
    [('original', 300, 13502), ('finetune', 320, 9602), ('ssdlite', 320, 3234)],
)
def test_spec_of_a_published_layout(
    experiment: Callable[..., Experiment], layout: str, size: int, num: int
) -> None:
    spec = make_spec(experiment(priors__layout=layout, input__size=f'[{size}, {size}]'), [], NAMES)
    assert spec.num_priors == num
