"""Quantisation-aware runs: what they learn, keep and continue."""

from collections.abc import Callable
import copy
from pathlib import Path
from typing import Any

from mnssd_training.config import Experiment, fingerprint
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.model.fake_quantization import add_fake_quantization, find_quantizers
from mnssd_training.model.norm import is_norm
from mnssd_training.train import load_checkpoint, loop, RunFolder, train
from mnssd_training.train.qat import freeze_norms, prepare_qat, read_ranges, restore_ranges
import pytest
import torch

Make = Callable[..., Experiment]

QAT = {'qat.enabled': 'true', 'training.batch_size': 1, 'evaluation.every_epochs': 1}


def test_without_qat_nothing_changes(tiny: Make, model: MobileNetSsd) -> None:
    layers = [type(module) for module in model.modules()]
    prepare_qat(model, tiny())
    assert [type(module) for module in model.modules()] == layers
    assert read_ranges(model) == {}
    restore_ranges(model, {})


def test_the_section_counts_in_the_fingerprint_only_if_enabled(tiny: Make) -> None:
    plain = fingerprint(tiny())
    assert fingerprint(tiny(**{'qat.weight_bits': 4})) == plain
    enabled = fingerprint(tiny(**{'qat.enabled': 'true'}))
    assert enabled != plain
    assert fingerprint(tiny(**{'qat.enabled': 'true', 'qat.weight_bits': 4})) != enabled


@pytest.mark.parametrize(
    ('start', 'epoch', 'frozen'),
    [(0.0, 0, True), (0.5, 0, False), (0.5, 1, True), (1.0, 1, False)],
)
def test_statistics_freeze_from_an_epoch_on(
    tiny: Make, model: MobileNetSsd, start: float, epoch: int, frozen: bool
) -> None:
    network = build_model(model.spec, tiny().model).train()
    freeze_norms(network, tiny(**QAT, **{'qat.frozen_norm_from': start}), epoch)
    assert {module.training for module in network.modules() if is_norm(module)} == {not frozen}


def test_ranges_of_another_network_are_refused(tiny: Make, model: MobileNetSsd) -> None:
    network = build_model(model.spec, tiny().model)
    add_fake_quantization(network, 8, 0.01)
    ranges = {name: torch.rand(2) for name in read_ranges(network)}
    restore_ranges(network, ranges)
    for name, layer in find_quantizers(network).items():
        assert torch.equal(layer.bounds, ranges[name])
    ranges.popitem()
    with pytest.raises(ValueError, match='expected ranges of'):
        restore_ranges(network, ranges)


def test_a_resumed_run_is_bit_identical(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
) -> None:
    experiment = tiny(**QAT, **{'checkpoint.every_steps': 1})
    expected = train(experiment, tmp_path / 'uninterrupted', progress=False)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    replace_step(5, fail)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path / 'run', progress=False)
    replace_step(10**6, fail)
    received = train(experiment, tmp_path / 'run', progress=False, resume=True)
    for key, value in expected.weights.items():
        assert torch.equal(received.weights[key], value), key
    assert expected.training is not None
    assert received.training is not None
    assert expected.training['ranges']
    for key, value in expected.training['ranges'].items():
        assert torch.equal(received.training['ranges'][key], value), key


def test_checkpoints_are_those_of_a_float_network_and_scored_with_rounding(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []

    def score(_: Any, network: MobileNetSsd, samples: list[Any], *__: Any) -> Any:
        scored.append(network)
        return {'map50': 0.5, 'coco': {'ap': 0.25}}, []

    monkeypatch.setattr(loop, 'validate', score)
    train(tiny(**QAT), tmp_path / 'run', progress=False)
    model = load_checkpoint(tmp_path / 'run' / 'checkpoints' / 'best.pt').build()
    assert find_quantizers(model) == {}
    quantizers = find_quantizers(scored[-1])
    assert quantizers
    assert all(layer.bounds.isfinite().all() for layer in quantizers.values())
    assert not any(layer.tracking for layer in quantizers.values())


def test_processes_share_the_ranges_of_all_images(
    tiny: Make,
    run_ranks: Callable[[int, Callable[[int], object]], list[int]],
    without_validation: None,
    tmp_path: Path,
) -> None:
    changes = {'training.epochs': 1, 'training.batch_size': 2, 'optimizer.learning_rate': 1e-9}
    experiment = tiny(**{**QAT, **changes})
    one = train(experiment, tmp_path / 'one', progress=False)
    assert run_ranks(2, lambda _: train(experiment, tmp_path / 'two', progress=False)) == [0, 0]
    two = RunFolder(tmp_path / 'two').newest()
    assert two is not None
    assert two.checkpoint.training is not None
    assert one.training is not None
    for name, bounds in one.training['ranges'].items():
        torch.testing.assert_close(two.checkpoint.training['ranges'][name], bounds, msg=name)


def test_training_recovers_what_rounding_loses(model: MobileNetSsd) -> None:
    torch.manual_seed(3)
    images = torch.randint(0, 256, (2, *model.spec.input_size, 3), dtype=torch.uint8)
    network = copy.deepcopy(model)
    with torch.no_grad():
        targets = network(images)
    add_fake_quantization(network, 3, 0.1)  # coarse weights lose much

    def error() -> torch.Tensor:
        logits, offsets = network(images)
        return (logits - targets[0]).square().mean() + (offsets - targets[1]).square().mean()

    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    before = error().item()
    for _ in range(20):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert before > 1e-3
    assert error().item() < 0.7 * before
