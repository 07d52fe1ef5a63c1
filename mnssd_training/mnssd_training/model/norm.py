"""
Normalise feature maps by batch statistics that small batches and several processes do not break.

Ioffe and Szegedy, Batch Normalization, ICML 2015. ADR 0011 says why this is not torch's
``SyncBatchNorm``.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, ExitStack
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm2d):
    """
    ``BatchNorm2d`` whose statistics, in training, are those of the images of all processes.

    It has the parameters, buffers and evaluation mode of :class:`torch.nn.BatchNorm2d`. A channel
    with a single value, one cell of one image, has no variance to divide by: there the running
    statistics are used instead.
    """

    tracking = True  # False leaves the running statistics unchanged

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of ``(B, C, H, W)``."""
        if not self.training:
            return super().forward(x)
        if _num_processes() > 1 and not x.is_meta:
            return self._forward_synced(x)
        if x.numel() == x.shape[1]:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if self.tracking:
            return super().forward(x)
        # Copies take the update. Without running statistics, autograd would save other tensors
        # than in the first forward pass, which checkpointing refuses.
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        return functional.batch_norm(
            x, mean, variance, self.weight, self.bias, training=True, eps=self.eps
        )

    @torch.compiler.disable  # it cannot compile an autograd function with collectives
    def _forward_synced(self, x: torch.Tensor) -> torch.Tensor:
        y, mean, variance, num = _SyncedBatchNorm.apply(x, self.weight, self.bias, self.eps)
        if self.tracking:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (num / (num - 1)), self.momentum)
        return y


class _SyncedBatchNorm(torch.autograd.Function):
    """
    Normalise by the statistics of all processes, on any device and backend.

    Gradients are those of the sum of the losses of all processes. The gradients of weight and bias
    are the part of this process, because DDP reduces them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        local_variance, local_mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        local_num = local_mean.new_full((1,), x.numel() / x.shape[1])
        local = torch.cat((local_mean, local_variance, local_num))  # (2 C + 1,)
        gathered = [torch.empty_like(local) for _ in range(_num_processes())]
        distributed.all_gather(gathered, local)
        means, variances, nums = torch.stack(gathered).split((x.shape[1], x.shape[1], 1), dim=1)
        # Pooled without differences of large squares (Chan et al., Updating Formulae and a
        # Pairwise Algorithm for Computing Sample Variances, 1979).
        num = nums.sum()
        mean = (means * nums).sum(dim=0) / num
        variance = ((variances + (means - mean).square()) * nums).sum(dim=0) / num
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), num)
        y = functional.batch_norm(x, mean, variance, weight, bias, eps=eps)
        ctx.mark_non_differentiable(mean, variance, num)
        return y, mean, variance, num

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor, *_: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        x, weight, mean, inverse, num = ctx.saved_tensors
        mean, inverse, factor = (v[:, None, None] for v in (mean, inverse, weight * inverse))
        normalised, gradient = (x.float() - mean) * inverse, gradient.float()
        local = torch.stack(
            (gradient.sum(dim=(0, 2, 3)), (gradient * normalised).sum(dim=(0, 2, 3)))
        )
        total = local.clone()
        distributed.all_reduce(total)
        mean_bias_grad, mean_weight_grad = (total / num)[:, :, None, None]
        x_grad = factor * (gradient - mean_bias_grad - normalised * mean_weight_grad)
        return x_grad.to(x.dtype), local[1], local[0], None


class _BatchNormAct(BatchNorm):
    """The same, followed by the dropout and activation of timm's ``BatchNormAct2d``."""

    def __init__(self, *args: Any, drop: nn.Module, act: nn.Module, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drop = drop
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, then activate."""
        return self.act(self.drop(super().forward(x)))


def convert_norms(module: nn.Module) -> None:
    """Replace the batch norms of a network of torchvision or timm by :class:`BatchNorm`."""
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm2d) or isinstance(child, BatchNorm):
            convert_norms(child)
            continue
        settings = {'eps': child.eps, 'momentum': child.momentum}
        if hasattr(child, 'act') and hasattr(child, 'drop'):
            norm: BatchNorm = _BatchNormAct(
                child.num_features, drop=child.drop, act=child.act, **settings
            )
        else:
            norm = BatchNorm(child.num_features, **settings)
        norm.load_state_dict(child.state_dict(), assign=True)
        module.add_module(name, norm)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a layer is a batch, instance, group, layer or RMS norm."""
    return isinstance(
        module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm
    )


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave running statistics and ranges unchanged while checkpointing recomputes activations."""
    layers = [layer for layer in module.modules() if getattr(layer, 'tracking', False)]
    for layer in layers:
        layer.tracking = False
    try:
        yield
    finally:
        for layer in layers:
            layer.tracking = True


def recalibrate_batch_norms(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    part: nn.Module | None = None,
    *,
    with_frozen: bool = True,
) -> None:
    """
    Replace the running statistics of batch norms by those of images, in place.

    The weights stay, so that the network computes something else in evaluation. Each norm
    normalises by the statistics of the batch, as in training, while those after it are measured
    (Precise BN: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3). No process
    waits for another.

    :param batches: of images as in training, each ``(B, H, W, 3)`` uint8; more than a few images
        each, or they are normalised image by image.
    :param part: whose norms change; None for the whole model.
    :param with_frozen: also those that stay in evaluation mode in training.
    """
    was_training = model.training
    model.train()
    norms = [norm for norm in batch_norms(part or model) if with_frozen or norm.training]
    model.eval()
    measured = measure_inputs(model, norms, batches, use_batch=True)
    for norm, (mean, variance) in measured.items():
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    model.train(was_training)


def measure_inputs(
    model: nn.Module,
    norms: Iterable[nn.BatchNorm2d],
    batches: Iterable[torch.Tensor],
    *,
    use_batch: bool = False,
) -> dict[nn.BatchNorm2d, tuple[torch.Tensor, torch.Tensor]]:
    """
    Measure the inputs of batch norms of a model in evaluation mode: mean and variance.

    :param use_batch: normalise by the statistics of each batch; its last ones remain.
    :return: ``(C,)`` float64 each, over all batches; norms without input are left out.
    """
    sums: dict[nn.BatchNorm2d, torch.Tensor] = {}

    def add(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0].double()
        count = x.new_full((x.shape[1],), x.numel() / x.shape[1])
        moments = torch.stack((count, x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))))  # (3, C)
        sums[norm] = sums.get(norm, 0) + moments
        if use_batch:
            mean, variance = _mean_and_variance(moments)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)

    with ExitStack() as stack, torch.no_grad():
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(add).remove)
        for batch in batches:
            model(batch)
    return {norm: _mean_and_variance(moments) for norm, moments in sums.items()}


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """List the batch norms of a network."""
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def _mean_and_variance(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count, total, squares = moments
    mean = total / count
    return mean, (squares / count - mean * mean).clamp(min=0)


def _num_processes() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
