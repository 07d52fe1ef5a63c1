"""Images to feature maps: any backbone of timm that makes them."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
import os
from pathlib import Path
import re
import textwrap
from types import ModuleType
from typing import Any

from mnssd_training.errors import CheckpointError, ConfigError, DamagedCheckpointError
from mnssd_training.model.backbone import Backbone, chosen_strides, recomputed
from mnssd_training.model.norm import convert_norms
from mnssd_training.torch_file import check_integrity
import torch
from torch import nn
from torch.nn import functional


class TimmBackbone(Backbone):
    """
    A backbone of timm, cut off after the last feature map that is needed.

    The grids of all levels are rounded up (:func:`mnssd_perception.ssd.feature_map`). A backbone
    that rounds down, as ConvNeXt does, or cannot see such inputs at all, gets its inputs padded
    at the right and at the bottom to a multiple of its coarsest stride; the cells that lie in the
    padding are cut off.

    :param name: in timm, with or without the tag of its weights.
    :param strides: of all levels of the network.
    :param input_size: (height, width) of the network input, for those that need to know.
    :raises ConfigError: if timm has no such backbone, or it has no such feature maps.
    """

    def __init__(
        self, name: str, strides: Sequence[int], input_size: tuple[int, int] = (320, 320)
    ) -> None:
        super().__init__()
        timm = _timm()
        _check_name(timm, name)
        self._name = name
        self._checkpointing = False
        self._settings: dict[str, Any] = {'features_only': True}
        is_fixed = _published_as(timm, name).fixed_input_size
        if is_fixed:
            self._settings['img_size'] = input_size
        with torch.device('meta'):
            info = self._create(timm).feature_info
        index_of = dict(zip(info.reduction(), info.out_indices))
        own = chosen_strides(strides, sorted(index_of), f'timm/{name}')
        self._settings['out_indices'] = [index_of[stride] for stride in own]
        # a side that no stride divides, so that rounding shows
        probe = input_size if is_fixed else (2 * own[-1] + 1, 2 * own[-1] + 1)
        self._strides, self._multiple = own, 1
        if not self._rounds_up(timm, own, probe):
            self._multiple = own[-1]
            if is_fixed:
                self._settings['img_size'] = tuple(
                    -(-side // own[-1]) * own[-1] for side in input_size
                )
        self.body = self._create(timm)
        convert_norms(self.body)
        self.channels = tuple(self.body.feature_info.channels())

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """
        Compute the feature maps.

        :param images: ``(B, 3, H, W)`` float, normalised.
        :return: one for each stride.
        """
        height, width = images.shape[-2:]
        below, right = -height % self._multiple, -width % self._multiple
        if not (below or right):
            return self._maps(self.body, images)
        padded = functional.pad(images, (0, right, 0, below))
        return [
            x[..., : -(-height // stride), : -(-width // stride)]
            for x, stride in zip(self._maps(self.body, padded), self._strides, strict=True)
        ]

    @staticmethod
    def _maps(body: Any, images: torch.Tensor) -> list[torch.Tensor]:
        """Run a network of timm; maps ``(B, C, H, W)``."""
        maps = body(images)
        if getattr(body, 'output_fmt', 'NCHW') == 'NHWC':
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        return list(maps)

    def blocks(self) -> list[nn.Module]:
        """List the blocks in order from the stem; what has no weights is none."""
        return [part for part in _parts(self.body) if any(True for _ in part.parameters())]

    @property
    def checkpointing(self) -> bool:
        """Tell whether activations are computed a second time instead of being kept."""
        return self._checkpointing

    @checkpointing.setter
    def checkpointing(self, wanted: bool) -> None:
        """Let each block run itself, or run it anew in the backward pass."""
        self._checkpointing = wanted
        for block in self.blocks():
            block.__dict__.pop('forward', None)
            if wanted:
                block.forward = partial(_run, block, block.forward)

    def load_weights(self, source: str) -> None:
        """
        Start from trained weights.

        :param source: ``imagenet`` for those that timm downloads, or the path of a state dict of
            the whole network; a classifier in it is ignored.
        :raises CheckpointError: if there are none, or they are for something else.
        """
        timm = _timm()
        if source == 'imagenet':
            self.body.load_state_dict(self._published(timm))
            return
        # pathlib raises for a path that may not be looked at
        if not os.path.isfile(source):  # noqa: PTH113
            raise CheckpointError(f'{source}: no such file of backbone weights')
        try:
            check_integrity(Path(source).read_bytes(), source)
            state = timm.models.load_state_dict(source, device='cpu', weights_only=True)
            own = self.body.state_dict()
            self.body.load_state_dict({key: state[_key_in(state, key)] for key in own})
        except DamagedCheckpointError:
            raise
        except Exception as error:  # loading raises whatever the bytes lead it to
            raise CheckpointError(
                f'{source}: expected a state dict of timm/{self._name}'
            ) from error

    def _rounds_up(self, timm: ModuleType, strides: list[int], size: tuple[int, int]) -> bool:
        """Tell whether the network makes grids that are rounded up of an input of some size."""
        wanted = [tuple(-(-side // stride) for side in size) for stride in strides]
        with torch.device('meta'), torch.no_grad():
            body = self._create(timm).eval()
            try:
                maps = self._maps(body, torch.zeros(1, 3, *size))
            except Exception:  # a thousand networks refuse sizes each in its own way
                return False
        return [tuple(x.shape[-2:]) for x in maps] == wanted

    def _create(self, timm: ModuleType, *, pretrained: bool = False) -> Any:
        """Build the network."""
        try:
            return timm.create_model(self._name, pretrained=pretrained, **self._settings)
        except Exception as error:  # a thousand networks refuse settings each in its own way
            raise ConfigError(
                f'model.backbone: timm/{self._name} makes no feature maps: '
                f'{textwrap.shorten(str(error), 200)}'
            ) from error

    def _published(self, timm: ModuleType) -> dict[str, torch.Tensor]:
        """Fetch timm's weights."""
        if not _published_as(timm, self._name).has_weights:
            raise CheckpointError(
                f'initial.backbone_weights: timm has no weights of {self._name}; '
                f'known are {", ".join(timm.list_pretrained(self._name.partition(".")[0] + "*"))}'
            )
        try:
            return dict(self._create(timm, pretrained=True).state_dict())
        except ConfigError as error:  # built before without weights, so that these are wrong
            raise CheckpointError(
                f'initial.backbone_weights: the weights of timm/{self._name} cannot be fetched: '
                f'{textwrap.shorten(str(error.__cause__), 200)}; '
                f'name a file that holds the state dict'
            ) from error


def _timm() -> ModuleType:
    """Import timm, which only these backbones need."""
    try:
        import timm
    except ImportError as error:
        raise ConfigError('model.backbone: timm/NAME needs timm; pip install timm') from error
    return timm


def _check_name(timm: ModuleType, name: str) -> None:
    """Refuse what timm does not know, and suggest what it does."""
    if not timm.is_model(name):
        near = get_close_matches(name.partition('.')[0], timm.list_models(), n=3)
        words = f'; did you mean {" or ".join(f"timm/{other}" for other in near)}?' if near else ''
        raise ConfigError(f'model.backbone: timm has no backbone {name!r}{words}')


def _published_as(timm: ModuleType, name: str) -> Any:
    """Look up how a network was published, with which weights."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ', '.join(timm.list_pretrained(f'{name.partition(".")[0]}.*'))
        raise ConfigError(f'model.backbone: {error}; timm has weights {tags}') from error


def _parts(module: nn.Module) -> list[nn.Module]:
    """List what a network runs one after the other, looking into containers."""
    parts: list[nn.Module] = []
    for name, child in module.named_children():
        is_container = isinstance(child, nn.Sequential | nn.ModuleList) or name == 'model'
        parts += _parts(child) if is_container else [child]
    return parts


def _run(block: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a block, anew in the backward pass when it trains."""
    if block.training and torch.is_grad_enabled():
        return recomputed(block, forward, *args, **kwargs)
    return forward(*args, **kwargs)


def _key_in(state: dict[str, torch.Tensor], key: str) -> str:
    """Find the name of a tensor in the whole network, whose containers timm unpacks."""
    whole = re.sub(r'^(\w+?)_(\d+)\.', r'\1.\2.', key)
    return next(name for name in (key, whole, key.removeprefix('model.')) if name in state)
