"""Batch normalisation of small batches, in several processes and after a conversion."""

from pathlib import Path

from mnssd_training.model.mobilenet_v2 import MobileNetV2
from mnssd_training.model.norm import (
    BatchNorm,
    convert_norms,
    is_norm,
    recalibrate_batch_norms,
    statistics_kept,
)
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.optim.swa_utils import update_bn


def norms(channels: int = 3) -> tuple[BatchNorm, nn.BatchNorm2d]:
    """Make ours and torch's, of the same weights and statistics."""
    torch.manual_seed(0)
    own, other = BatchNorm(channels), nn.BatchNorm2d(channels)
    with torch.no_grad():
        for tensor in (own.weight, own.bias, own.running_mean):
            tensor.uniform_(-1, 1)
        own.running_var.uniform_(0.5, 2)
    other.load_state_dict(own.state_dict())
    return own, other


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kind', [torch.float32, torch.bfloat16])
def test_batch_norm_equals_batch_norm_2d_in_one_process(training: bool, kind: torch.dtype) -> None:
    own, other = (norm.train(training) for norm in norms())
    x = torch.randn(2, 3, 4, 5, dtype=kind)
    found, wanted = own(x), other(x)
    assert torch.equal(found, wanted)
    assert found.dtype == kind
    for key, value in other.state_dict().items():
        assert torch.equal(own.state_dict()[key], value), key


def test_batch_norm_uses_running_statistics_for_one_value_per_channel() -> None:
    own, other = norms()
    x = torch.randn(1, 3, 1, 1)
    before = {key: value.clone() for key, value in own.state_dict().items()}
    found = own.train()(x)
    assert torch.equal(found, other.eval()(x))
    found.sum().backward()
    assert all(p.grad is not None for p in own.parameters())
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


def test_statistics_kept_leaves_running_statistics_unchanged() -> None:
    own, _ = norms()
    own.train()
    x = torch.randn(2, 3, 4, 4)
    first = own(x)
    before = {key: value.clone() for key, value in own.state_dict().items()}
    with statistics_kept(nn.Sequential(own)):
        assert torch.equal(own(x), first)
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())
    own(x)
    assert not torch.equal(own.running_mean, before['running_mean'])


def test_batch_norm_keeps_dtype_and_channels_last() -> None:
    own, other = (norm.train() for norm in norms())
    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        found, wanted = own(x.bfloat16()), other(x.bfloat16())
    assert torch.equal(found, wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_convert_norms_keeps_the_output() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)), nn.ReLU()
    )
    x = torch.randn(2, 3, 6, 6)
    keys, wanted = list(network.state_dict()), network.eval()(x)
    convert_norms(network)
    assert isinstance(network[1][0], BatchNorm)
    assert network[1][0].momentum == 0.01
    assert list(network.state_dict()) == keys
    assert torch.equal(network.eval()(x), wanted)
    assert [is_norm(layer) for layer in (nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.ReLU())] == [
        True,
        True,
        False,
    ]


def test_convert_norms_keeps_the_activation_of_timm() -> None:
    layers = pytest.importorskip('timm.layers')
    network = nn.Sequential(layers.BatchNormAct2d(3, act_layer=nn.ReLU6))
    x = torch.randn(2, 3, 4, 4) * 9
    wanted = network(x.clone())
    network[0].reset_running_stats()
    convert_norms(network)
    assert isinstance(network[0], BatchNorm)
    assert torch.equal(network(x.clone()), wanted)
    assert 0 < wanted.max() <= 6


PARTS = (slice(0, 1), slice(1, 4))  # processes with one and with three images


def network_and_images(shape: tuple[int, ...]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), BatchNorm(3), nn.ReLU(), BatchNorm(3))
    return network.train(), torch.randn(4, 2, *shape) * 5 + 100


def step(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Do one step: outputs, gradients and statistics."""
    x.requires_grad_()
    y = network(x)
    (
        y * torch.arange(1.0, 1 + y.shape[1])[:, None, None] * x[:, :1].detach().sin()
    ).sum().backward()
    gradients = {f'gradient of {k}': p.grad for k, p in network.named_parameters()}
    return {'y': y.detach(), 'x': x.grad, **gradients, **network.state_dict()}


def process(rank: int, shape: tuple[int, ...], folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=len(PARTS)
    )
    network, x = network_and_images(shape)
    torch.save(step(network, x[PARTS[rank]].clone()), Path(folder) / f'{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.skipif(torch.cuda.is_available(), reason='autograd on CUDA cannot be forked')
@pytest.mark.parametrize('shape', [(5, 4), (1, 1)], ids=['map', 'one cell'])
def test_batch_norm_of_two_processes_equals_that_of_one(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    # Forked: these tests can be imported by no name.
    multiprocessing.start_processes(
        process, (shape, str(tmp_path)), nprocs=len(PARTS), start_method='fork'
    )
    network, x = network_and_images(shape)
    wanted = step(network, x)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in range(len(PARTS))]
    for key, value in wanted.items():
        if key in ('y', 'x'):
            found = torch.cat([part[key] for part in parts])
        elif key.startswith('gradient'):
            found = sum(part[key] for part in parts)
        else:
            assert torch.equal(parts[0][key], parts[1][key])
            found = parts[0][key]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4, msg=key)


def small_network() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), BatchNorm(4), nn.ReLU(), nn.Conv2d(4, 5, 3), BatchNorm(5)
    )


def test_recalibration_without_images_changes_nothing() -> None:
    network = small_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    recalibrate_batch_norms(network, [])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_recalibrated_statistics_are_those_that_torch_measures() -> None:
    network, other = small_network().train(), small_network()
    images = torch.rand(6, 3, 8, 8) * 3 + 1
    recalibrate_batch_norms(network, [images])
    update_bn([images], other)
    assert network.training
    found, wanted = network.state_dict(), other.state_dict()
    num_values = {'1': 6 * 6 * 6, '4': 6 * 4 * 4}
    for key, num in num_values.items():
        torch.testing.assert_close(found[f'{key}.running_mean'], wanted[f'{key}.running_mean'])
        unbiased = found[f'{key}.running_var'] * num / (num - 1)
        torch.testing.assert_close(unbiased, wanted[f'{key}.running_var'])
        assert torch.equal(found[f'{key}.weight'], wanted[f'{key}.weight'])


def test_recalibration_pools_the_statistics_of_batches() -> None:
    batches = [torch.randn(2, 3, 4, 5) + shift for shift in (0.0, 7.0)]
    norm = BatchNorm(3)
    recalibrate_batch_norms(norm, batches)
    pooled = torch.cat(batches)
    torch.testing.assert_close(norm.running_mean, pooled.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, pooled.var((0, 2, 3), correction=0))


def test_recalibration_can_spare_a_part_and_frozen_norms() -> None:
    network = small_network()
    recalibrate_batch_norms(network, [torch.rand(2, 3, 8, 8)], network[4])
    assert torch.equal(network[1].running_var, torch.ones(4))
    assert not torch.equal(network[4].running_var, torch.ones(5))
    backbone = MobileNetV2((8,), width_mult=0.25)
    backbone.freeze(4, norm=False)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    recalibrate_batch_norms(backbone, [torch.rand(2, 3, 32, 32)], with_frozen=False)
    changed = {
        int(key.split('.')[1])
        for key, value in backbone.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert min(changed) == 4
    recalibrate_batch_norms(backbone, [torch.rand(2, 3, 32, 32)])
    assert not torch.equal(
        backbone.state_dict()['features.0.1.running_var'], before['features.0.1.running_var']
    )
