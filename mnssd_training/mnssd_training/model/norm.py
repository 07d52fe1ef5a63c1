"""
Feature maps to normalised ones, by statistics that small batches and processes do not break.

Ioffe and Szegedy, Batch Normalization, ICML 2015.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm2d):
    """
    Batch normalisation with the weights and buffers of :class:`torch.nn.BatchNorm2d`.

    In training it differs in two ways. Where a channel has one value (a map of one cell, of one
    image), there is no variance to divide by, and the running statistics take its place.
    Where several processes train together, the statistics are those of all their images, so
    that they do what one process would. In evaluation there is no difference.

    :ivar tracking: False to leave the running statistics as they are.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracking = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Normalise each channel.

        :param x: ``(B, C, H, W)``.
        :return: the same shape and type.
        """
        if not self.training:
            return super().forward(x)
        if _num_processes() > 1 and not x.is_meta:
            return self._synchronised(x)
        if x.numel() == x.shape[1]:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if self.tracking:
            return super().forward(x)
        # Copies take the update; without any, other tensors would be kept for the backward pass
        # than at the first time.
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        return functional.batch_norm(
            x, mean, variance, self.weight, self.bias, training=True, eps=self.eps
        )

    @torch.compiler.disable  # collectives and their backward run as they are
    def _synchronised(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise by the statistics of all processes."""
        y, mean, variance, num = _Synchronised.apply(x, self.weight, self.bias, self.eps)
        if self.tracking:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (num / (num - 1)), self.momentum)
        return y


class _Synchronised(torch.autograd.Function):
    """
    Normalisation by the statistics of all processes, whose gradient crosses processes too.

    Works on any device and backend. The loss is taken for the sum of those of the processes;
    gradients of weight and bias are the own share, for whoever sums gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        own_variance, own_mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        own_num = own_mean.new_full((1,), x.numel() / x.shape[1])
        own = torch.cat((own_mean, own_variance, own_num))
        gathered = [torch.empty_like(own) for _ in range(_num_processes())]
        distributed.all_gather(gathered, own)
        means, variances, nums = torch.stack(gathered).split((x.shape[1], x.shape[1], 1), dim=1)
        # Chan et al., Updating Formulae and a Pairwise Algorithm for Sample Variances, 1979: no
        # difference of large squares.
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
        normal, slope = (x.float() - mean) * inverse, gradient.float()
        own = torch.stack((slope.sum(dim=(0, 2, 3)), (slope * normal).sum(dim=(0, 2, 3))))
        both = own.clone()
        distributed.all_reduce(both)
        along_bias, along_weight = (both / num)[:, :, None, None]
        back = factor * (slope - along_bias - normal * along_weight)
        return back.to(x.dtype), own[1], own[0], None


class _BatchNormAct(BatchNorm):
    """The same, followed by what timm puts into its normalisation layers."""

    def __init__(self, *args: Any, drop: nn.Module, act: nn.Module, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drop = drop
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, then activate."""
        return self.act(self.drop(super().forward(x)))


def convert_norms(module: nn.Module) -> None:
    """
    Put :class:`BatchNorm` in the place of other batch normalisation, in place.

    :param module: a network of torchvision or timm, freshly built.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and not isinstance(child, BatchNorm):
            module.add_module(name, _converted(child))
        else:
            convert_norms(child)


def _converted(norm: nn.BatchNorm2d) -> BatchNorm:
    """Make a layer of the same settings and values."""
    settings = {'eps': norm.eps, 'momentum': norm.momentum}
    if hasattr(norm, 'act') and hasattr(norm, 'drop'):
        own: BatchNorm = _BatchNormAct(norm.num_features, drop=norm.drop, act=norm.act, **settings)
    else:
        own = BatchNorm(norm.num_features, **settings)
    own.load_state_dict(norm.state_dict(), assign=True)
    return own


def is_norm(module: nn.Module) -> bool:
    """
    Tell whether a layer normalises.

    :param module: any layer.
    :return: True for batch, layer, group and instance normalisation.
    """
    return isinstance(
        module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm
    )


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """
    Leave running statistics as they are, while activations are computed a second time.

    :param module: a part of a network.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm) and m.tracking]
    for norm in norms:
        norm.tracking = False
    try:
        yield
    finally:
        for norm in norms:
            norm.tracking = True


def _num_processes() -> int:
    """Count the processes that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
