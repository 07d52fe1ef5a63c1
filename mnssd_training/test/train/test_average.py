"""Averages of checkpoints: what is averaged, measured anew and refused."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path

from mnssd_perception.ssd import feature_map
from mnssd_training.cli import average, evaluate
from mnssd_training.config import Experiment, ModelConfig, to_stored
from mnssd_training.data import Sample
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model
from mnssd_training.priors import make_spec
from mnssd_training.train import Checkpoint, load_checkpoint, train
from mnssd_training.train.average import average_checkpoints, average_weights, weights_digest
from mnssd_training.train.checkpoint import save_checkpoint
import pytest
import torch

Make = Callable[..., Experiment]


@pytest.fixture
def checkpoints(tiny: Make, train_samples: list[Sample]) -> dict[str, Checkpoint]:
    """Two networks that differ in all weights, of an experiment with a frozen stem."""
    experiment = tiny(**{'model.frozen_blocks': 2})
    spec = make_spec(experiment, train_samples, ('Person', 'Car', 'Bicycle', 'OtherVehicle'))
    made = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = build_model(spec, experiment.model)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        made[f'{seed}.pt'] = Checkpoint(
            spec,
            experiment.model,
            to_stored(experiment),
            network.state_dict(),
            training={'model': {}},
            step=seed,
            metrics={'map50': 0.5},
        )
    return made


@pytest.fixture
def images(checkpoints: dict[str, Checkpoint]) -> torch.Tensor:
    size = checkpoints['1.pt'].spec.input_size
    torch.manual_seed(5)
    return torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8)


@pytest.mark.parametrize('num', [0, 1])
def test_fewer_than_two_checkpoints_are_refused(
    checkpoints: dict[str, Checkpoint], num: int
) -> None:
    with pytest.raises(CheckpointError, match=f'at least two checkpoints, got {num}'):
        average_checkpoints(dict(list(checkpoints.items())[:num]), [])


def test_weights_are_averaged_and_integers_kept() -> None:
    states = [{'a': torch.tensor([x]), 'n': torch.tensor(int(x))} for x in (1.0, 3.0, 8.0)]
    averaged = average_weights(states)
    assert averaged['a'].tolist() == [4.0]
    assert averaged['a'].dtype == torch.float32
    assert averaged['n'].item() == 1


def test_average_has_the_batch_statistics_of_its_own_activations(
    checkpoints: dict[str, Checkpoint], images: torch.Tensor
) -> None:
    averaged = average_checkpoints(checkpoints, [images])
    mean = average_weights([checkpoint.weights for checkpoint in checkpoints.values()])
    statistics = ('running_mean', 'running_var')
    for key, value in averaged.weights.items():
        is_frozen = key.startswith(('backbone.features.0.', 'backbone.features.1.'))
        if is_frozen or not key.endswith(statistics):
            assert torch.equal(value, mean[key]), key
    network = averaged.build()
    with torch.no_grad():
        one, other = network(images)[0], network.train()(images)[0]
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    network.load_state_dict(mean)
    with torch.no_grad():
        assert (network.eval()(images)[0] - other).abs().max() > 0.01  # without new statistics


def test_average_records_its_sources_and_cannot_be_resumed(
    checkpoints: dict[str, Checkpoint], images: torch.Tensor, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / 'soup.pt', average_checkpoints(checkpoints, [images]))
    soup = load_checkpoint(tmp_path / 'soup.pt')
    assert soup.training is None
    assert soup.metrics == {}
    assert soup.sources == {
        'averaged': tuple(f'{name} {weights_digest(c.weights)}' for name, c in checkpoints.items())
    }
    assert soup.experiment == checkpoints['1.pt'].experiment


def test_other_networks_are_refused_by_name(checkpoints: dict[str, Checkpoint]) -> None:
    first = checkpoints['1.pt']
    classes = replace(first.spec, class_names=('a', 'b', 'c', 'd'))
    levels = (
        *first.spec.feature_maps[:2],
        feature_map(first.spec.input_size, 32, ((9.0, 9.0),) * 3),
    )
    changed = {
        'class_names is .*a.*, not .*Person': replace(first, spec=classes),
        'its priors differ; train with the same boxes': replace(
            first, spec=replace(first.spec, feature_maps=levels)
        ),
        'model.pyramid_channels is 32, not 8': replace(
            first, model_config=ModelConfig(width_mult=0.25, pyramid_channels=32, frozen_blocks=2)
        ),
    }
    for message, other in changed.items():
        with pytest.raises(
            CheckpointError, match=f'other.pt: expected the network of 1.pt: {message}'
        ):
            average_checkpoints({'1.pt': first, 'other.pt': other}, [])


def test_digest_depends_on_values_names_and_shapes_only() -> None:
    weights = {'a': torch.ones(2, 3), 'n': torch.tensor(3)}
    digest = weights_digest(weights)
    assert digest == weights_digest(dict(reversed(weights.items())))
    assert digest == weights_digest({**weights, 'a': torch.ones(3, 2).t()})
    assert digest != weights_digest({**weights, 'a': torch.ones(3, 2)})
    assert digest != weights_digest({**weights, 'a': torch.full((2, 3), 1.1)})
    assert digest != weights_digest({'b': weights['a'], 'n': weights['n']})
    assert weights_digest({}).startswith('sha256:')


def test_command_averages_checkpoints_to_evaluate_and_fine_tune(
    checkpoints: dict[str, Checkpoint],
    tiny: Make,
    hit_uav: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [str(tmp_path / name) for name in checkpoints]
    for path, checkpoint in zip(paths, checkpoints.values()):
        save_checkpoint(Path(path), checkpoint)
    soup = tmp_path / 'new' / 'soup.pt'
    assert average.main([*paths, '--output', str(soup)]) == 0
    assert 'averaged 2 checkpoints; batch norms measured on 4 images' in capsys.readouterr().out
    twin = tmp_path / 'twin.pt'
    assert average.main([*paths, '--output', str(twin), '--data', str(hit_uav)]) == 0
    assert weights_digest(load_checkpoint(soup).weights) == weights_digest(
        load_checkpoint(twin).weights
    )
    assert evaluate.main([str(soup), '--json', str(tmp_path / 'report.json'), '--quiet']) == 0
    assert json.loads((tmp_path / 'report.json').read_text())
    tuned = tiny(**{'initial.checkpoint': soup, 'model.frozen_blocks': 2, 'training.epochs': 1})
    assert train(tuned, tmp_path / 'run', progress=False).step == 2
    capsys.readouterr()
    for arguments, message in {
        (*paths, '--output', str(soup)): 'already exists',
        (paths[0], paths[0], '--output', 'x.pt'): 'expected each checkpoint once',
        (*paths, '--output', 'x.pt', '--data', str(tmp_path / 'gone')): 'no such folder',
        (*paths, '--output', f'{soup}/x.pt'): 'cannot be written: ',
        (paths[0], '--output', 'x.pt'): 'at least two checkpoints, got 1',
    }.items():
        assert average.main(arguments) == 1
        assert message in capsys.readouterr().err
