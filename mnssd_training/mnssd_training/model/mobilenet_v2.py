"""The MobileNetV2 backbone of torchvision, with feature maps of stride 4 to 32."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mnssd_training.errors import CheckpointError, DamagedCheckpointError
from mnssd_training.model.backbone import Backbone, select_strides
from mnssd_training.model.norm import BatchNorm
from mnssd_training.torch_file import load_torch
import torch
from torch import nn
from torchvision.models import mobilenet_v2, MobileNet_V2_Weights

# Stride -> index in torchvision's `features`. The feature map of a stride is taken from the
# expansion of the block that halves next (SSDLite uses number 14; Sandler et al., CVPR 2018,
# section 6.2), or from the output of the last block before that.
EXPANSIONS = {4: 4, 8: 7, 16: 14, 32: 18}
BLOCKS = {4: 3, 8: 6, 16: 13, 32: 18}
LAST = 18


class MobileNetV2(Backbone):
    """MobileNetV2, cut off after the last feature map that the strides of the levels need."""

    def __init__(
        self,
        strides: Sequence[int] = (8, 16, 32),
        width_mult: float = 1.0,
        feature_location: Literal['expansion', 'block'] = 'expansion',
    ) -> None:
        super().__init__()
        index_of = EXPANSIONS if feature_location == 'expansion' else BLOCKS
        selected = select_strides(strides, list(index_of), 'mobilenet_v2')
        self._indices = [index_of[stride] for stride in selected]
        self._uses_expansion = feature_location == 'expansion'
        last = self._indices[-1]
        features = mobilenet_v2(weights=None, width_mult=width_mult, norm_layer=BatchNorm).features
        self.features = features[: last + 1]
        if self._is_split(last):  # the remainder of that block is unused
            self.features[last].conv = self.features[last].conv[:1]
        self.channels = tuple(self._num_channels(index) for index in self._indices)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps of normalised images, ``(B, 3, H, W)`` float."""
        maps, x = [], images
        for index, block in enumerate(self.features):
            if self._is_split(index):
                x = self._run(block.conv[0], x)
                maps.append(x)
                x = self._run(block.conv[1:], x)
            else:
                x = self._run(block, x)
                if index in self._indices:
                    maps.append(x)
        return maps

    def blocks(self) -> list[nn.Module]:
        """List the 19 blocks of torchvision's network, or those up to the last that is used."""
        return list(self.features)

    def load_weights(self, source: str) -> None:
        """Load torchvision's weights; see :meth:`Backbone.load_weights`."""
        try:
            if source == 'imagenet':
                weights = MobileNet_V2_Weights.IMAGENET1K_V2
                state = weights.get_state_dict(progress=False, check_hash=True)
            else:
                state = dict(load_torch(Path(source).read_bytes(), source))
            keys = self.features.state_dict()
            self.features.load_state_dict({key: state[f'features.{key}'] for key in keys})
        except DamagedCheckpointError:
            raise
        except FileNotFoundError as error:
            raise CheckpointError(f'{source}: no such file of backbone weights') from error
        except OSError as error:
            raise CheckpointError(
                f'backbone_weights={source}: cannot be fetched or read: {error}; '
                f'name a file that holds the state dict'
            ) from error
        except Exception as error:  # torch.load raises any error, depending on the bytes
            raise CheckpointError(
                f'{source}: expected a state dict of torchvision.models.mobilenet_v2, '
                f'of the width of model.width_mult'
            ) from error

    def _is_split(self, index: int) -> bool:
        """Tell whether the feature map comes from the expansion of a block."""
        return self._uses_expansion and index in self._indices and index != LAST

    def _num_channels(self, index: int) -> int:
        block = self.features[index]
        part = block.conv[0] if self._is_split(index) else block
        return [m for m in part.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
