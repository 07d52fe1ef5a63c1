"""Predictions in the order of the contract, and what levels share."""

from typing import Any

from mnssd_training.model.heads import Head, SharedHead
from mnssd_training.model.norm import BatchNorm
import pytest
import torch

SHAPES = ((4, 5), (2, 3), (1, 1))
WIDTH = 4


def cells(channels: int = 8) -> list[torch.Tensor]:
    """Make feature maps that hold the number of their cell."""
    return [
        torch.arange(float(rows * columns)).reshape(1, 1, rows, columns).repeat(1, channels, 1, 1)
        for rows, columns in SHAPES
    ]


def telling(layer: torch.nn.Conv2d) -> None:
    """Let a prediction tell its cell and its channel."""
    with torch.no_grad():
        layer.weight.zero_()
        middle = layer.kernel_size[0] // 2
        layer.weight[:, 0, middle, middle] = 1.0
        layer.bias.copy_(torch.arange(layer.out_channels) * 1000)


def wanted(per_cell: tuple[int, ...]) -> torch.Tensor:
    """Number all priors by cell and channel."""
    levels = []
    for (rows, columns), num in zip(SHAPES, per_cell):
        cell = torch.arange(float(rows * columns))[:, None, None]
        channel = torch.arange(float(num * WIDTH)).reshape(num, WIDTH)
        levels.append((cell + 1000 * channel).reshape(-1, WIDTH))
    return torch.cat(levels)


@pytest.mark.parametrize('kind', ['depthwise', 'ssdlite', 'plain'])
def test_priors_come_in_the_order_of_the_contract(kind: str) -> None:
    """Each level, row, column and size lands on its own prior."""
    per_cell = (2, 3, 1)
    head = Head((8, 8, 8), per_cell, WIDTH, kind=kind)
    for level in head.levels:
        for index in range(len(level) - 1):
            level[index] = torch.nn.Identity()
    for layer in head.predictions():
        telling(layer)
    with torch.no_grad():
        assert torch.equal(head(cells())[0], wanted(per_cell))


def test_a_shared_head_keeps_that_order() -> None:
    head = SharedHead(8, 3, 2, WIDTH, kind='plain')
    telling(head.predictions()[0])
    with torch.no_grad():
        assert torch.equal(head(cells())[0], wanted((2, 2, 2)))


@pytest.mark.parametrize(
    'settings', [{'kind': 'depthwise'}, {'kind': 'ssdlite'}, {'kind': 'plain', 'middle': 6}]
)
def test_a_shared_head_does_what_heads_of_the_same_weights_do(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    shared = SharedHead(8, 3, 2, WIDTH, **settings).eval()
    apart = Head((8, 8, 8), (2, 2, 2), WIDTH, **settings).eval()
    for norms in shared.norms:
        for norm in norms:
            norm.running_mean.uniform_(-1, 1)
    for level, norms in zip(apart.levels, shared.norms, strict=True):
        own = [m for m in level.modules() if isinstance(m, torch.nn.Conv2d)]
        for layer, other in zip(own, [*shared.tower, shared.prediction], strict=True):
            layer.load_state_dict(other.state_dict())
        own = [m for m in level.modules() if isinstance(m, BatchNorm)]
        for norm, other in zip(own, norms, strict=True):
            norm.load_state_dict(other.state_dict())
    maps = [torch.randn(2, 8, *shape) for shape in SHAPES]
    with torch.no_grad():
        torch.testing.assert_close(shared(maps), apart(maps))
    assert len(shared.state_dict()) == len(
        {id(v) for v in shared.state_dict(keep_vars=True).values()}
    )
