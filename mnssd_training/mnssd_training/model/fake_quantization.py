"""
Simulate INT8 in training, as the quantisation of exported networks computes it.

Each convolution reads uint8 activations of an asymmetric range and int8 weights with a scale for
each output channel; sums and predictions are rounded too (Jacob et al., Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018). Rounding has the
gradient of the identity within the range. The export folds batch norms into the weights. That
scales each channel and its rounding alike, so the weights are rounded here without being folded.

Parameters keep their names, and ranges are no part of the state dict: checkpoints are those of the
same network in float32.
"""

from mnssd_training.model.mobilenet_ssd import MobileNetSsd
from mnssd_training.model.norm import BatchNorm
import torch
from torch import distributed, nn

NUM_LEVELS = 256  # of activations
MIN_SCALE = 1e-9  # of a tensor that is always 0


class ActivationQuantizer(nn.Module):
    """
    Rounds a tensor to 256 values of its range, a moving average over the batches.

    :ivar tracking: update the range.
    :ivar bounds: (-low, high), with low <= 0 <= high; NaN before the first batch.
    """

    bounds: torch.Tensor

    def __init__(self, averaging: float) -> None:
        super().__init__()
        self.tracking = True
        self._averaging = averaging
        self.register_buffer('bounds', torch.full((2,), torch.nan), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round to float32 values."""
        x = x.float()
        if x.is_meta:  # only shapes are wanted
            return x
        if self.tracking:
            self._track(x.detach())
        low, high = -self.bounds[0], self.bounds[1]
        scale = ((high - low) / (NUM_LEVELS - 1)).clamp(min=MIN_SCALE)
        zero_point = (-low / scale).round().to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, NUM_LEVELS - 1)

    @torch.no_grad()
    def _track(self, x: torch.Tensor) -> None:
        low, high = x.aminmax()
        batch = torch.stack((-low, high)).clamp(min=0)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(batch, distributed.ReduceOp.MAX)
        average = torch.lerp(self.bounds, batch, self._averaging)
        self.bounds.copy_(torch.where(self.bounds.isnan(), batch, average))


class QuantizedConv2d(nn.Conv2d):
    """A convolution with rounded input and weights; and output, where no other layer rounds it."""

    def __init__(self, layer: nn.Conv2d, bits: int, averaging: float, is_last: bool) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            bias=layer.bias is not None,
            device='meta',
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.max_level = 2 ** (bits - 1) - 1
        self.input_quantizer = ActivationQuantizer(averaging)
        self.output_quantizer = ActivationQuantizer(averaging) if is_last else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``(B, C, H, W)``."""
        if x.is_meta:  # PyTorch has no shapes of rounded channels
            return self._conv_forward(x, self.weight, self.bias)
        largest = self.weight.detach().abs().amax(dim=(1, 2, 3))
        scale = (largest / self.max_level).clamp(min=MIN_SCALE).float()
        zero_point = torch.zeros_like(scale, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, scale, zero_point, 0, -self.max_level, self.max_level
        )
        y: torch.Tensor = self._conv_forward(self.input_quantizer(x), weight, self.bias)
        return y if self.output_quantizer is None else self.output_quantizer(y)


def add_fake_quantization(model: MobileNetSsd, bits: int, averaging: float) -> None:
    """
    Make a network compute as after quantisation; weights and their names stay.

    Where two maps are added, the sum is rounded when the next convolution reads it. What comes
    into a sum without an activation function is rounded before.

    :param bits: of the weights.
    :param averaging: share of a batch in the moving average of a range.
    """
    last = {*model.logits.prediction_layers(), *model.offsets.prediction_layers()}
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d:  # other classes pad in their own way
                layer = QuantizedConv2d(child, bits, averaging, child in last)
                module.add_module(name, layer.train(child.training))
        if isinstance(module, nn.Sequential) and isinstance(module[-1], BatchNorm):
            module.append(ActivationQuantizer(averaging))


def find_quantizers(model: nn.Module) -> dict[str, ActivationQuantizer]:
    """Find the quantizers of a network by name; none in a network without quantisation."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, ActivationQuantizer)
    }


def share_bounds(model: nn.Module, copy: nn.Module) -> None:
    """Let a copy of a network use its ranges, also those to come, without updating them."""
    quantizers = find_quantizers(model)
    for name, quantizer in find_quantizers(copy).items():
        quantizer.bounds, quantizer.tracking = quantizers[name].bounds, False
