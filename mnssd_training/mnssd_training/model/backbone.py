"""Images to feature maps of stride 8, 16 and 32: MobileNetV2 from torchvision."""

from typing import cast

from mnssd_training.errors import CheckpointError
import torch
from torch import nn
from torchvision.models import mobilenet_v2, MobileNet_V2_Weights

__all__ = ['Backbone', 'NUM_BLOCKS']

# The feature maps before each halving, counted in torchvision's `features`: the expansion layers
# of blocks 7 and 14 (SSDLite taps the latter; Sandler et al., CVPR 2018, section 6.2) and the end.
FIRST_HALVING, SECOND_HALVING = 7, 14
NUM_BLOCKS = 19


class Backbone(nn.Module):
    """
    MobileNetV2 with three taps.

    :param frozen_blocks: blocks from the first on that keep their weights and statistics. The
        first four work at stride 2 and 4: they see edges, which look alike in any photograph, and
        cost half of a training step.
    :ivar channels: of the three feature maps.
    """

    channels = (192, 576, 1280)

    def __init__(self, frozen_blocks: int = 0) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features
        self.frozen_blocks = frozen_blocks
        self.features[:frozen_blocks].requires_grad_(False)

    def train(self, mode: bool = True) -> 'Backbone':
        """
        Switch to training or evaluation; frozen blocks stay in evaluation.

        :param mode: True for training.
        :return: the backbone.
        """
        super().train(mode)
        self.features[: self.frozen_blocks].eval()
        return self

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """
        Compute the feature maps.

        :param images: ``(B, 3, H, W)`` float, normalised.
        :return: stride 8, 16 and 32.
        """
        taps = []
        x = images
        for index, block in enumerate(self.features):
            if index in (FIRST_HALVING, SECOND_HALVING):
                expansion, *rest = cast('nn.Sequential', block.conv)
                x = expansion(x)
                taps.append(x)
                for layer in rest:
                    x = layer(x)
            else:
                x = block(x)
        return [*taps, x]

    def load_imagenet(self, source: str) -> None:
        """
        Start from ImageNet weights.

        :param source: ``imagenet`` for those that torchvision downloads, or the path of a state
            dict of torchvision's ``mobilenet_v2``; a classifier in it is ignored.
        :raises CheckpointError: if there are none, or they are for something else.
        """
        try:
            state = _imagenet_state() if source == 'imagenet' else _state(source)
            features = {
                key.removeprefix('features.'): value
                for key, value in state.items()
                if key.startswith('features.')
            }
            self.features.load_state_dict(features)
        except FileNotFoundError as error:
            raise CheckpointError(f'{source}: no such file of backbone weights') from error
        except OSError as error:
            raise CheckpointError(
                f'backbone_weights={source}: cannot be fetched or read: {error}; '
                f'name a file that holds the state dict'
            ) from error
        except Exception as error:  # torch.load raises whatever the bytes lead it to
            raise CheckpointError(
                f'{source}: expected a state dict of torchvision.models.mobilenet_v2'
            ) from error


def _imagenet_state() -> dict[str, torch.Tensor]:
    """Fetch torchvision's weights, once for all runs."""
    weights = MobileNet_V2_Weights.IMAGENET1K_V2
    return dict(weights.get_state_dict(progress=False, check_hash=True))


def _state(path: str) -> dict[str, torch.Tensor]:
    """Read weights from a file."""
    return dict(torch.load(path, map_location='cpu', weights_only=True))
