"""Prediction heads: the order of priors, and shared weights."""

from typing import Any

from mnssd_training.model.heads import PredictionHead, SharedPredictionHead
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


def predict_cell_and_channel(layer: torch.nn.Conv2d) -> None:
    """Let a prediction tell its cell and its channel."""
    with torch.no_grad():
        layer.weight.zero_()
        middle = layer.kernel_size[0] // 2
        layer.weight[:, 0, middle, middle] = 1.0
        layer.bias.copy_(torch.arange(layer.out_channels) * 1000)


def expected_order(per_cell: tuple[int, ...]) -> torch.Tensor:
    """Number all priors by cell and channel."""
    levels = []
    for (rows, columns), num in zip(SHAPES, per_cell):
        cell = torch.arange(float(rows * columns))[:, None, None]
        channel = torch.arange(float(num * WIDTH)).reshape(num, WIDTH)
        levels.append((cell + 1000 * channel).reshape(-1, WIDTH))
    return torch.cat(levels)


@pytest.mark.parametrize('block', ['depthwise', 'ssdlite', 'plain'])
def test_predictions_are_in_the_order_of_the_priors(block: str) -> None:
    """Each level, row, column and size lands on its own prior."""
    per_cell = (2, 3, 1)
    head = PredictionHead((8, 8, 8), per_cell, WIDTH, block=block)
    for level in head.levels:
        for index in range(len(level) - 1):
            level[index] = torch.nn.Identity()
    for layer in head.prediction_layers():
        predict_cell_and_channel(layer)
    with torch.no_grad():
        assert torch.equal(head(cells())[0], expected_order(per_cell))


def test_shared_head_predicts_in_the_same_order() -> None:
    head = SharedPredictionHead(8, 3, 2, WIDTH, block='plain')
    predict_cell_and_channel(head.prediction_layers()[0])
    with torch.no_grad():
        assert torch.equal(head(cells())[0], expected_order((2, 2, 2)))


@pytest.mark.parametrize(
    'settings',
    [{'block': 'depthwise'}, {'block': 'ssdlite'}, {'block': 'plain', 'hidden_channels': 6}],
)
def test_shared_head_equals_separate_heads_of_the_same_weights(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    shared = SharedPredictionHead(8, 3, 2, WIDTH, **settings).eval()
    apart = PredictionHead((8, 8, 8), (2, 2, 2), WIDTH, **settings).eval()
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
