"""Images to feature maps of stride 4 to 32: MobileNetV2 from torchvision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mnssd_training.errors import CheckpointError, DamagedCheckpointError
from mnssd_training.model.backbone import Backbone, chosen_strides
from mnssd_training.model.norm import BatchNorm
from mnssd_training.torch_file import read_torch
import torch
from torch import nn
from torchvision.models import mobilenet_v2, MobileNet_V2_Weights

# The block of each stride, counted in torchvision's `features`. Tapped in its expansion, it is the
# one that halves next (SSDLite taps number 14; Sandler et al., CVPR 2018, section 6.2); tapped
# after a block, it is the last before that.
EXPANSIONS = {4: 4, 8: 7, 16: 14, 32: 18}
BLOCKS = {4: 3, 8: 6, 16: 13, 32: 18}
LAST = 18


class MobileNetV2(Backbone):
    """
    MobileNetV2 with taps.

    :param strides: of all levels of the network.
    :param width: factor of the channels.
    :param tap: whether a map is taken from the expansion of a block or after a block.
    :raises ConfigError: if it has no feature map of a level's stride.
    """

    def __init__(
        self,
        strides: Sequence[int] = (8, 16, 32),
        width: float = 1.0,
        tap: Literal['expansion', 'block'] = 'expansion',
    ) -> None:
        super().__init__()
        table = EXPANSIONS if tap == 'expansion' else BLOCKS
        self._taps = [table[s] for s in chosen_strides(strides, list(table), 'mobilenet_v2')]
        self._split = tap == 'expansion'
        last = self._taps[-1]
        features = mobilenet_v2(weights=None, width_mult=width, norm_layer=BatchNorm).features
        self.features = features[: last + 1]
        if self._is_split(last):  # nothing uses the rest of that block
            self.features[last].conv = self.features[last].conv[:1]
        self.channels = tuple(self._channels(index) for index in self._taps)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """
        Compute the feature maps.

        :param images: ``(B, 3, H, W)`` float, normalised.
        :return: one for each stride.
        """
        taps = []
        x = images
        for index, block in enumerate(self.features):
            if self._is_split(index):
                x = self._run(block.conv[0], x)
                taps.append(x)
                x = self._run(block.conv[1:], x)
            else:
                x = self._run(block, x)
                if index in self._taps:
                    taps.append(x)
        return taps

    def blocks(self) -> list[nn.Module]:
        """List the 19 parts of torchvision's network, or those up to the last that is tapped."""
        return list(self.features)

    def load_weights(self, source: str) -> None:
        """
        Start from ImageNet weights.

        :param source: ``imagenet`` for those that torchvision downloads, or the path of a state
            dict of torchvision's ``mobilenet_v2``; a classifier in it is ignored.
        :raises CheckpointError: if there are none, or they are for something else.
        """
        try:
            state = _imagenet_state() if source == 'imagenet' else _state(source)
            own = self.features.state_dict()
            self.features.load_state_dict({key: state[f'features.{key}'] for key in own})
        except DamagedCheckpointError:
            raise
        except FileNotFoundError as error:
            raise CheckpointError(f'{source}: no such file of backbone weights') from error
        except OSError as error:
            raise CheckpointError(
                f'backbone_weights={source}: cannot be fetched or read: {error}; '
                f'name a file that holds the state dict'
            ) from error
        except Exception as error:  # torch.load raises whatever the bytes lead it to
            raise CheckpointError(
                f'{source}: expected a state dict of torchvision.models.mobilenet_v2, '
                f'of the width that model.width_mult names'
            ) from error

    def _is_split(self, index: int) -> bool:
        """Tell whether a block is tapped in its expansion."""
        return self._split and index in self._taps and index != LAST

    def _channels(self, index: int) -> int:
        """Count the channels of a tap."""
        block = self.features[index]
        part = block.conv[0] if self._is_split(index) else block
        return [m for m in part.modules() if isinstance(m, nn.Conv2d)][-1].out_channels


def _imagenet_state() -> dict[str, torch.Tensor]:
    """Fetch torchvision's weights, once for all runs."""
    weights = MobileNet_V2_Weights.IMAGENET1K_V2
    return dict(weights.get_state_dict(progress=False, check_hash=True))


def _state(path: str) -> dict[str, torch.Tensor]:
    """Read weights from a file."""
    return dict(read_torch(Path(path)))
