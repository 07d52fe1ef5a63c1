"""Distillation: what a network learns from its teachers, and what stays as without them."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from mnssd_perception.ssd import ModelSpec
from mnssd_training.cli import train as train_verb
from mnssd_training.config import Experiment, fingerprint, to_stored
from mnssd_training.data import Sample
from mnssd_training.errors import CheckpointError, ConfigError
from mnssd_training.export.provenance import public_experiment
from mnssd_training.model import build_model
from mnssd_training.priors import make_spec
from mnssd_training.train import Checkpoint, load_checkpoint, train
from mnssd_training.train.checkpoint import save_checkpoint, weights_digest
from mnssd_training.train.distillation import (
    Distillation,
    foreground_scores,
    logit_loss,
    map_loss,
)
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import forward_backward, next_batch
import pytest
import torch

Make = Callable[..., Experiment]
NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
FEATURES = {'distillation.feature_weight': 2}
ONLY_FEATURES = {**FEATURES, 'distillation.logit_weight': 0, 'distillation.box_weight': 0}


@pytest.fixture
def make_teacher(tiny: Make, train_samples: list[Sample], tmp_path: Path) -> Callable[..., Path]:
    """Write the checkpoint of a network with opinions of its own."""

    def make(name: str = 'teacher.pt', seed: int = 3, **changes: Any) -> Path:
        larger = {'model.width_mult': 0.35, 'model.pyramid_channels': 12}
        spec_changes = changes.pop('spec', {})
        experiment = tiny(**larger | {k.replace('__', '.'): v for k, v in changes.items()})
        spec = replace(make_spec(experiment, train_samples, NAMES), **spec_changes)
        torch.manual_seed(seed)
        network = build_model(spec, experiment.model)
        with torch.no_grad():
            for head in (network.logits, network.offsets):
                for layer in head.prediction_layers():
                    layer.weight.normal_(std=0.5)
                    layer.bias.normal_()
        path = tmp_path / name
        save_checkpoint(
            path,
            Checkpoint(
                spec, experiment.model, to_stored(experiment), network.state_dict(), None, 1, {}
            ),
        )
        return path

    return make


def taught(*paths: Path) -> dict[str, str]:
    return {'distillation.teachers': json.dumps([str(path) for path in paths])}


def open_state(experiment: Experiment) -> TrainState:
    return TrainState(make_fabric(experiment.training), experiment)


# --- terms -----------------------------------------------------------------------------------


def test_terms_of_nothing_are_zero() -> None:
    assert logit_loss(torch.zeros(0, 3, 5), torch.zeros(0, 3, 5), 1.0) == 0
    assert map_loss(torch.zeros(0, 2, 3, 4), torch.zeros(0, 2, 3, 4)) == 0


def test_logits_of_the_teacher_cost_nothing_and_others_by_foreground_score() -> None:
    taught = torch.tensor([[[0.0, 4.0, 0.0], [6.0, 0.0, 0.0]]])
    assert logit_loss(taught, taught, 2.0) == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    loss = logit_loss(logits, taught, 2.0)
    p = (taught / 2).softmax(2)
    divergence = (p * (p.log() - torch.tensor(1 / 3).log())).sum(2)
    weights = foreground_scores(taught).clamp(min=2 / 3)  # that of the network is 2/3
    torch.testing.assert_close(loss.detach(), 4 * (weights * divergence).sum())
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[0, 0] < 0).tolist() == [False, True, False]


def test_priors_that_all_see_as_background_hardly_count() -> None:
    background, unsure = torch.tensor([9.0, 0.0, 0.0]), torch.tensor([8.0, 0.0, 0.0])
    object_, other = torch.tensor([0.0, 9.0, 0.0]), torch.tensor([0.0, 8.0, 0.0])
    many = logit_loss(unsure.expand(1, 10_000, 3), background.expand(1, 10_000, 3), 1.0)
    one = logit_loss(other[None, None], object_[None, None], 1.0)
    assert many < 100 * one


def test_maps_are_compared_as_shares_of_their_channels() -> None:
    torch.manual_seed(0)
    level, taught = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    assert map_loss(taught + torch.randn(2, 3, 1, 1), taught) == pytest.approx(0, abs=1e-5)
    parts = sum(map_loss(level[i : i + 1], taught[i : i + 1]) for i in range(2))
    torch.testing.assert_close(map_loss(level, taught), parts)
    p, q = ((x.flatten(2) / 4).softmax(2) for x in (taught, level))
    torch.testing.assert_close(map_loss(level, taught), 16 / 3 * (p * (p / q).log()).sum())


# --- teachers --------------------------------------------------------------------------------


def test_without_teachers_the_section_changes_nothing(tiny: Make) -> None:
    assert fingerprint(tiny(**FEATURES)) == fingerprint(tiny())
    state = open_state(tiny(**FEATURES))
    assert state.distillation is None
    assert state.to_checkpoint().sources == {}


def test_number_of_teachers_and_weights_count_in_the_fingerprint_but_not_their_paths(
    tiny: Make,
) -> None:
    one, two = taught(Path('/a.pt')), taught(Path('/b.pt'), Path('/c.pt'))
    assert fingerprint(tiny(**one)) == fingerprint(tiny(**taught(Path('/b.pt'))))
    different = [tiny(), tiny(**one), tiny(**two), tiny(**one, **FEATURES)]
    assert len(set(map(fingerprint, different))) == 4


def test_published_experiment_names_teachers_without_folders(tiny: Make) -> None:
    stored = to_stored(tiny(**taught(Path('/home/me/a.pt'), Path('b.pt'))))
    assert public_experiment(stored)['distillation']['teachers'] == ['a.pt', 'b.pt']


def test_teachers_without_a_term_are_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match='expected logit_weight, box_weight or feature_weight'):
        tiny(**taught(Path('a.pt')), **{**ONLY_FEATURES, 'distillation.feature_weight': 0})


def test_teacher_that_is_missing_or_does_not_fit_is_refused(
    tiny: Make, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    def error(path: Path, **changes: Any) -> str:
        with pytest.raises((CheckpointError, ConfigError)) as caught:
            open_state(tiny(**taught(path), **changes))
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert 'no such checkpoint' in error(tmp_path / 'gone.pt')
    assert 'no such file' in error(tmp_path / 'gone.mnssd')
    stretched = make_teacher('size.pt', input__size='[96, 80]')
    assert 'with the input_size (64, 80) of this run, got (96, 80)' in error(stretched)
    assert 'input_size' in error(stretched, **ONLY_FEATURES)
    resize = make_teacher('resize.pt', input__resize='letterbox')
    assert 'with the resize stretch of this run, got letterbox' in error(resize)
    classes = make_teacher('classes.pt', spec={'class_names': ('a', 'b', 'c', 'd')})
    message = error(classes)
    assert 'expected the classes Person, Car, Bicycle, OtherVehicle, got a, b, c, d' in message
    assert 'with distillation.logit_weight=0, distillation.box_weight=0 and' in message
    priors = make_teacher('priors.pt', priors__strides='[8, 16]', priors__priors_per_cell='[2, 2]')
    assert 'cannot teach its logits and boxes: expected a' in error(priors)
    for path in (classes, priors):  # their feature maps fit
        distillation = open_state(tiny(**taught(path), **ONLY_FEATURES)).distillation
        assert distillation is not None
        assert len(distillation.adapters) == (3 if path == classes else 2)


def test_network_that_equals_its_teacher_has_nothing_to_learn(
    tiny: Make, make_teacher: Callable[..., Path]
) -> None:
    path = make_teacher()
    same = {'model.width_mult': 0.35, 'model.pyramid_channels': 12}
    state = open_state(tiny(**same, **taught(path), **{'initial.checkpoint': path}))
    state.network.eval()
    batches = next_batch(state.fabric, state.read_steps(workers=0))
    images = batches[0].images
    assert state.distillation is not None
    outputs = state.network(images)
    loss = state.distillation.loss(images, outputs, torch.tensor(3), 2)
    assert loss.item() == pytest.approx(0, abs=1e-4)
    worse = [output + 1.0 * torch.randn_like(output) for output in outputs]
    assert state.distillation.loss(images, worse, torch.tensor(3), 2) > 0.1


def test_several_teachers_teach_their_average(
    tiny: Make, make_teacher: Callable[..., Path]
) -> None:
    paths = [make_teacher(f'{seed}.pt', seed) for seed in (3, 4)]
    network = open_state(tiny()).network.eval()
    images = torch.randint(0, 256, (2, 64, 80, 3), dtype=torch.uint8)
    fabric = make_fabric(tiny().training)

    def loss(experiment: Experiment) -> float:
        distillation = Distillation(experiment, network, [(64, 80)], fabric)
        with torch.no_grad():
            return float(distillation.loss(images, network(images), torch.tensor(5), 2))

    weights = {'distillation.min_score': 0.0, 'distillation.logit_weight': 0}
    with torch.no_grad():
        outputs = [load_checkpoint(path).build()(images) for path in paths]
        own = network(images)[1]
    mean = (outputs[0][1] + outputs[1][1]) / 2
    expected = torch.nn.functional.smooth_l1_loss(own, mean, reduction='sum') / 5
    assert loss(tiny(**taught(*paths), **weights)) == pytest.approx(float(expected), rel=1e-4)


def test_gradient_of_a_batch_is_the_sum_over_its_parts(
    tiny: Make, make_teacher: Callable[..., Path]
) -> None:
    frozen = {'model.frozen_norm': 'true', 'model.pyramid': 'plain', 'model.head': 'plain'}
    gradients = []
    for parts in (1, 2):
        changes = {**frozen, **FEATURES, 'training.batch_size': 4, 'loss.classification': 'focal'}
        state = open_state(
            tiny(**taught(make_teacher()), **changes, **{'training.grad_accum_steps': parts})
        )
        forward_backward(state, next_batch(state.fabric, state.read_steps(workers=0)))
        assert state.distillation is not None
        parameters = (*state.network.parameters(), *state.distillation.adapters.parameters())
        gradients.append([p.grad for p in parameters if p.requires_grad])
    assert all(gradient is not None for gradient in gradients[0])
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_network_approaches_its_teacher(
    tiny: Make, make_teacher: Callable[..., Path], precision: str
) -> None:
    changes = {**FEATURES, 'training.precision': precision, 'optimizer.learning_rate': 0.01}
    state = open_state(tiny(**taught(make_teacher()), **changes))
    batches = next_batch(state.fabric, state.read_steps(workers=0))
    images, losses = batches[0].images, []
    assert state.distillation is not None
    for _ in range(10):
        state.optimizer.zero_grad()
        outputs = state.model(images)
        loss = state.distillation.loss(images, outputs, torch.tensor(100), 2)
        state.fabric.backward(loss)
        state.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_backbone_of_timm_teaches(tiny: Make, make_teacher: Callable[..., Path]) -> None:
    teacher = make_teacher(model__backbone='timm/mobilenetv3_small_050', model__width_mult=1.0)
    state = open_state(tiny(**taught(teacher), **FEATURES))
    batches = next_batch(state.fabric, state.read_steps(workers=0))
    assert forward_backward(state, batches).isfinite().all()


# --- runs ------------------------------------------------------------------------------------

RUN = {**FEATURES, 'training.batch_size': 1, 'checkpoint.every_steps': 1,
       'evaluation.every_epochs': 1}  # fmt: skip


@pytest.mark.usefixtures('without_validation')
def test_checkpoints_hold_the_network_alone_and_name_its_teachers(
    tiny: Make, make_teacher: Callable[..., Path], tmp_path: Path, spec: ModelSpec
) -> None:
    path = make_teacher()
    digest = weights_digest(load_checkpoint(path).weights)
    before = path.read_bytes()
    last = train(tiny(**RUN, **taught(path)), tmp_path / 'run', progress=False)
    plain = open_state(tiny()).network.state_dict()
    assert last.weights.keys() == plain.keys()
    assert last.training is not None
    assert last.training['model'].keys() == plain.keys()
    best = load_checkpoint(tmp_path / 'run' / 'checkpoints' / 'best.pt')
    assert best.weights.keys() == plain.keys()
    assert best.sources == {'teachers': (digest,)}
    assert f'teacher {path}, {digest}' in (tmp_path / 'run' / 'train.log').read_text()
    assert path.read_bytes() == before
    best.build()


@pytest.mark.usefixtures('without_validation')
def test_a_distilled_run_resumes_bit_identically_with_its_teachers_only(
    tiny: Make,
    make_teacher: Callable[..., Path],
    replace_step: Callable[[int, Callable[..., Any]], None],
    tmp_path: Path,
) -> None:
    path = make_teacher()
    experiment = tiny(**RUN, **taught(path))
    expected = train(experiment, tmp_path / 'whole', progress=False)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    replace_step(5, fail)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path / 'run', progress=False)
    replace_step(10**6, fail)
    make_teacher(seed=4)  # replaces the file
    with pytest.raises(CheckpointError, match='learns from the teachers sha256:.*, now they are'):
        train(experiment, tmp_path / 'run', progress=False, resume=True)
    with pytest.raises(CheckpointError, match='belongs to another experiment: distillation'):
        train(tiny(**RUN), tmp_path / 'run', progress=False, resume=True)
    moved = make_teacher('moved.pt')
    received = train(tiny(**RUN, **taught(moved)), tmp_path / 'run', progress=False, resume=True)
    assert expected.training is not None
    assert received.training is not None
    for one, other in (
        (expected.weights, received.weights),
        (expected.training['model'], received.training['model']),
        (expected.training['adapters'], received.training['adapters']),
    ):
        assert one
        assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.usefixtures('without_validation')
def test_command_trains_with_teachers(
    hit_uav: Path,
    make_teacher: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [str(make_teacher(f'{seed}, "a".pt', seed)) for seed in (3, 4)]
    small = ['input.size=[64, 80]', 'model.width_mult=0.25', 'training.batch_size=2']
    arguments = ['smoke', f'data.root={hit_uav}', *small, '--run', str(tmp_path / 'run')]
    teachers = ['--teacher', paths[0], '--teacher', paths[1]]
    assert train_verb.main([*arguments, *teachers, 'distillation.feature_weight=1']) == 0
    out = capsys.readouterr().out
    assert all(f'note: teacher {path}, sha256:' in out for path in paths)
    stored = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert stored['distillation']['teachers'] == paths


@pytest.mark.slow
@pytest.mark.usefixtures('without_validation')
def test_captured_graphs_distil_as_well(
    tiny: Make,
    make_teacher: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch.compile without its code generator, which takes minutes."""
    changes = {**FEATURES, **taught(make_teacher()), 'training.epochs': 1}
    plain = train(tiny(**changes), tmp_path / 'plain', progress=False)
    captured = []

    def capture(module: torch.nn.Module, **_: Any) -> Any:
        captured.append(module)
        return compile_(module, backend='aot_eager')

    compile_ = torch.compile
    monkeypatch.setattr(torch, 'compile', capture)
    last = train(
        tiny(**changes, **{'training.compile': 'true'}), tmp_path / 'compiled', progress=False
    )
    assert sorted({type(module).__name__ for module in captured}) == ['NetworkWithMaps']
    for key, value in plain.weights.items():
        torch.testing.assert_close(last.weights[key], value, rtol=1e-2, atol=1e-2)
