from collections.abc import Callable

from mnssd_training.config import Experiment
from mnssd_training.data.sample import Sample
from mnssd_training.layouts import spec_of
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


def test_no_boxes_give_priors_of_three_cells(
    experiment: Callable[..., Experiment],
) -> None:
    spec = spec_of(experiment(), [], NAMES)
    assert [level.sizes[0] for level in spec.feature_maps] == [
        (3 * level.stride[0], 3 * level.stride[0]) for level in spec.feature_maps
    ]


def test_clusters_are_those_of_the_boxes(
    experiment: Callable[..., Experiment], train_samples: list[Sample]
) -> None:
    settings = experiment(priors__variances='[0.2, 0.3]')
    spec = spec_of(settings, train_samples, NAMES)
    assert spec == spec_of(settings, list(train_samples), NAMES)
    assert spec.input_size == settings.input.size
    assert spec.class_names == NAMES
    assert spec.variances == (0.2, 0.3)


@pytest.mark.parametrize(
    ('layout', 'size', 'num'),
    [('original', 300, 13502), ('finetune', 320, 9602), ('ssdlite', 320, 3234)],
)
def test_published_layouts(
    experiment: Callable[..., Experiment], layout: str, size: int, num: int
) -> None:
    spec = spec_of(experiment(priors__layout=layout, input__size=f'[{size}, {size}]'), [], NAMES)
    assert spec.num_priors == num
