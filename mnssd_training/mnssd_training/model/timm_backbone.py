"""Any backbone of timm that makes feature maps."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
import os
from pathlib import Path
import re
import textwrap
from typing import Any

from mnssd_training.errors import CheckpointError, ConfigError, DamagedCheckpointError
from mnssd_training.model.backbone import Backbone, run_checkpointed, select_strides
from mnssd_training.model.norm import convert_norms
from mnssd_training.torch_file import check_integrity
import timm
import torch
from torch import nn
from torch.nn import functional


class TimmBackbone(Backbone):
    """
    A backbone of timm, cut off after the last feature map that is needed.

    The grids of all levels are rounded up (:func:`mnssd_perception.ssd.feature_map`). For a
    backbone that rounds down, as ConvNeXt does, or that refuses such inputs, inputs are padded at
    the right and at the bottom to a multiple of its coarsest stride; the cells in the padding are
    cut off.

    :param name: in timm, with or without the tag of its weights.
    :param input_size: (height, width) of the network input, for backbones of a fixed size.
    :raises ConfigError: if timm has no such backbone, or it lacks feature maps.
    """

    def __init__(
        self, name: str, strides: Sequence[int], input_size: tuple[int, int] = (320, 320)
    ) -> None:
        super().__init__()
        self._name, self._base_name = name, name.partition('.')[0]
        self._checkpointing = False
        self._settings: dict[str, Any] = {'features_only': True}
        is_fixed = self._find_pretrained_config().fixed_input_size
        if is_fixed:
            self._settings['img_size'] = input_size
        with torch.device('meta'):
            info = self._create().feature_info
        index_of = dict(zip(info.reduction(), info.out_indices))
        self._strides = select_strides(strides, sorted(index_of), f'timm/{name}')
        self._settings['out_indices'] = [index_of[stride] for stride in self._strides]
        coarsest, self._multiple = self._strides[-1], 1
        # A side that no stride divides, so that rounding shows.
        probe_size = input_size if is_fixed else (2 * coarsest + 1, 2 * coarsest + 1)
        if not self._rounds_up(probe_size):
            self._multiple = coarsest
            if is_fixed:
                padded = tuple(-(-side // coarsest) * coarsest for side in input_size)
                self._settings['img_size'] = padded
        self.body = self._create()
        convert_norms(self.body)
        self.channels = tuple(self.body.feature_info.channels())

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps of normalised images, ``(B, 3, H, W)`` float."""
        height, width = images.shape[-2:]
        bottom, right = -height % self._multiple, -width % self._multiple
        if not (bottom or right):
            return _run_body(self.body, images)
        maps = _run_body(self.body, functional.pad(images, (0, right, 0, bottom)))
        return [
            x[..., : -(-height // stride), : -(-width // stride)]
            for x, stride in zip(maps, self._strides, strict=True)
        ]

    def blocks(self) -> list[nn.Module]:
        """List the blocks that have weights, in order from the stem."""
        return [block for block in _unpack(self.body) if any(True for _ in block.parameters())]

    @property
    def checkpointing(self) -> bool:
        """Tell whether activations are recomputed in the backward pass."""
        return self._checkpointing

    @checkpointing.setter
    def checkpointing(self, enabled: bool) -> None:
        self._checkpointing = enabled
        for block in self.blocks():
            block.__dict__.pop('forward', None)
            if enabled:
                block.forward = partial(_forward_checkpointed, block, block.forward)

    def load_weights(self, source: str) -> None:
        """Load timm's weights; see :meth:`Backbone.load_weights`."""
        if source == 'imagenet':
            self.body.load_state_dict(self._download_weights())
            return
        # pathlib raises for a path without permission.
        if not os.path.isfile(source):  # noqa: PTH113
            raise CheckpointError(f'{source}: no such file of backbone weights')
        try:
            check_integrity(Path(source).read_bytes(), source)
            state = timm.models.load_state_dict(source, device='cpu', weights_only=True)
            keys = self.body.state_dict()
            self.body.load_state_dict({key: state[_find_key(state, key)] for key in keys})
        except DamagedCheckpointError:
            raise
        except Exception as error:  # loading raises any error, depending on the bytes
            raise CheckpointError(
                f'{source}: expected a state dict of timm/{self._name}'
            ) from error

    def _find_pretrained_config(self) -> Any:
        name = self._name
        if not timm.is_model(name):
            close = get_close_matches(self._base_name, timm.list_models(), n=3)
            hint = f'; did you mean {" or ".join(f"timm/{match}" for match in close)}?'
            raise ConfigError(
                f'model.backbone: timm has no backbone {name!r}{hint if close else ""}'
            )
        try:
            return timm.get_pretrained_cfg(name)
        except RuntimeError as error:
            tags = ', '.join(timm.list_pretrained(f'{self._base_name}.*'))
            raise ConfigError(f'model.backbone: {error}; timm has weights {tags}') from error

    def _rounds_up(self, size: tuple[int, int]) -> bool:
        """Tell whether the grids of an input of some size are rounded up."""
        with torch.device('meta'), torch.no_grad():
            body = self._create().eval()
            try:
                maps = _run_body(body, torch.zeros(1, 3, *size))
            except Exception:  # each of a thousand networks refuses sizes in its own way
                return False
        return [tuple(x.shape[-2:]) for x in maps] == [
            tuple(-(-side // stride) for side in size) for stride in self._strides
        ]

    def _create(self, *, pretrained: bool = False) -> Any:
        try:
            return timm.create_model(self._name, pretrained=pretrained, **self._settings)
        except Exception as error:  # each of a thousand networks refuses settings in its own way
            raise ConfigError(
                f'model.backbone: timm/{self._name} makes no feature maps: '
                f'{textwrap.shorten(str(error), 200)}'
            ) from error

    def _download_weights(self) -> dict[str, torch.Tensor]:
        if not timm.get_pretrained_cfg(self._name).has_weights:
            available = timm.list_pretrained(f'{self._base_name}*')
            raise CheckpointError(
                f'initial.backbone_weights: timm has no weights of {self._name}; '
                f'available: {", ".join(available)}'
            )
        try:
            return dict(self._create(pretrained=True).state_dict())
        except ConfigError as error:  # the same network was built before, without weights
            raise CheckpointError(
                f'initial.backbone_weights: the weights of timm/{self._name} cannot be fetched: '
                f'{textwrap.shorten(str(error.__cause__), 200)}; '
                f'name a file that holds the state dict'
            ) from error


def _run_body(body: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """Compute the feature maps of a network of timm, ``(B, C, H, W)``."""
    maps = body(images)
    if getattr(body, 'output_fmt', 'NCHW') == 'NHWC':
        maps = [x.permute(0, 3, 1, 2) for x in maps]
    return list(maps)


def _unpack(module: nn.Module) -> list[nn.Module]:
    """List the modules of a network in order, with containers replaced by their children."""
    modules: list[nn.Module] = []
    for name, child in module.named_children():
        is_container = isinstance(child, nn.Sequential | nn.ModuleList) or name == 'model'
        modules += _unpack(child) if is_container else [child]
    return modules


def _forward_checkpointed(block: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    if block.training and torch.is_grad_enabled():
        return run_checkpointed(block, forward, *args, **kwargs)
    return forward(*args, **kwargs)


def _find_key(state: dict[str, torch.Tensor], key: str) -> str:
    """Find a tensor in the state dict of the full network, whose containers timm unpacks."""
    unpacked = re.sub(r'^(\w+?)_(\d+)\.', r'\1.\2.', key)
    return next(name for name in (key, unpacked, key.removeprefix('model.')) if name in state)
