"""
Distill trained teachers into a network: raw heads and feature maps.

Teachers see the same augmented images. Three terms are added to the loss, in sums that do not
depend on how a batch is divided:

- the logits (Hinton et al., Distilling the Knowledge in a Neural Network, 2015), where each prior
  counts by its foreground score: thousands of priors on which all agree that they are background
  would drown the others (Chen et al., Learning Efficient Object Detection Models with Knowledge
  Distillation, NeurIPS 2017, section 3.2, weigh the classes for that);
- the offsets of the priors on which the teacher is confident;
- the feature maps of the pyramid, by 1 x 1 convolutions that adapt the channels (Romero et al.,
  FitNets, ICLR 2015) and are dropped after training, as distributions over the cells of each
  channel (Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021).
"""

from collections.abc import Sequence

from lightning_fabric import Fabric
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import Experiment
from mnssd_training.errors import ConfigError
from mnssd_training.loss.localization import offset_loss
from mnssd_training.model import check_grids, MobileNetSsd
from mnssd_training.priors import resize_spec
from mnssd_training.train.checkpoint import weights_digest
from mnssd_training.train.initial_weights import load_network
from mnssd_training.train.prior_alignment import align_priors, PriorAlignment
import torch
from torch import nn
from torch.nn import functional

Size = tuple[int, int]  # (height, width) of the network input, pixels
MAP_TEMPERATURE = 4.0  # of the distributions over cells; Shu et al., section 4.1


class NetworkWithMaps(nn.Module):
    """A network that also returns levels of its pyramid, each through an adapter."""

    def __init__(
        self, network: MobileNetSsd, levels: Sequence[int], adapters: nn.ModuleList
    ) -> None:
        super().__init__()
        self.network, self.levels, self.adapters = network, tuple(levels), adapters

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute logits, offsets and one map per adapter of ``(B, H, W, 3)`` RGB."""
        maps = self.network.compute_maps(images)
        adapted = (adapter(maps[i]) for i, adapter in zip(self.levels, self.adapters))
        return (*self.network.predict(maps), *adapted)


class Distillation:
    """
    The teachers of a run, and the loss against them.

    :ivar model: the network as training calls it, with adapters where features are distilled.
    :ivar adapters: from each level that a teacher shares with the network to that of the teacher.
    :ivar digests: of the weights of the teachers.
    :raises CheckpointError: if a teacher cannot be read.
    :raises ConfigError: if a teacher does not fit the network.
    """

    def __init__(
        self,
        experiment: Experiment,
        network: MobileNetSsd,
        sizes: Sequence[Size],
        fabric: Fabric,
    ) -> None:
        self._config, self._fabric = experiment.distillation, fabric
        self._beta = experiment.loss.smooth_l1_beta
        self._teachers: list[nn.Module] = []
        self._alignments: list[dict[Size, PriorAlignment]] = []  # none without logits and boxes
        self.adapters, levels, digests = nn.ModuleList(), list[int](), list[str]()
        torch.manual_seed(experiment.training.seed)
        for source in self._config.teachers:
            teacher = load_network(source).requires_grad_(False)
            _check_teacher(source, teacher, network.spec, sizes)
            if self._config.logit_weight or self._config.box_weight:
                alignment = _align(source, teacher.spec, network.spec, sizes, fabric.device)
                self._alignments.append(alignment)
            digests.append(weights_digest(teacher.state_dict()))
            pairs = _pair_levels(source, network, teacher) if self._config.feature_weight else []
            identities = nn.ModuleList(nn.Identity() for _ in pairs)
            module = NetworkWithMaps(teacher, [theirs for _, theirs in pairs], identities).eval()
            if experiment.training.channels_last:
                module.to(memory_format=torch.channels_last)
            module = fabric.to_device(module)
            self._teachers.append(torch.compile(module) if experiment.training.compile else module)
            for own, theirs in pairs:
                widths = network.pyramid.channels[own], teacher.pyramid.channels[theirs]
                self.adapters.append(nn.Conv2d(*widths, 1, bias=False))  # softmax has no offset
                levels.append(own)
        if experiment.training.channels_last:
            self.adapters.to(memory_format=torch.channels_last)
        fabric.to_device(self.adapters)
        self.digests = tuple(digests)
        self.model = NetworkWithMaps(network, levels, self.adapters) if levels else network

    def loss(
        self,
        images: torch.Tensor,
        outputs: Sequence[torch.Tensor],
        num_positives: torch.Tensor,
        batch_size: int,
    ) -> torch.Tensor:
        """
        Compare outputs of the network with those of the teachers, in float32; a scalar.

        :param outputs: of :attr:`model`.
        :param num_positives: scalar, of the whole batch.
        :param batch_size: images of the whole batch.
        """
        config = self._config
        with torch.no_grad(), self._fabric.autocast():
            taught = [teacher(images) for teacher in self._teachers]
        with torch.autocast(images.device.type, enabled=False):
            logits, offsets, *maps = (output.float() for output in outputs)
            total = logits.new_zeros(())
            if self._alignments:
                size = images.shape[1], images.shape[2]
                heads = [a[size].apply(*o[:2]) for a, o in zip(self._alignments, taught)]
                taught_logits, taught_offsets = (torch.stack(h).mean(dim=0) for h in zip(*heads))
                num = num_positives.clamp(min=1)
                scores = logit_loss(logits, taught_logits, config.temperature)
                is_confident = foreground_scores(taught_logits) >= config.min_score
                differing = torch.where(is_confident[..., None], offsets, taught_offsets)
                boxes = offset_loss(differing, taught_offsets, 'smooth_l1', self._beta).sum()
                total = total + (config.logit_weight * scores + config.box_weight * boxes) / num
            if maps:
                taught_maps = [level.float() for output in taught for level in output[2:]]
                losses = [map_loss(*pair) for pair in zip(maps, taught_maps, strict=True)]
                total = total + config.feature_weight * torch.stack(losses).mean() / batch_size
        return total


def logit_loss(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """
    Sum the divergence of softened scores from those of the teacher, by foreground score.

    The larger score of the two networks counts, so that an object that only one sees is learnt or
    unlearnt.

    :param logits: ``(B, P, C + 1)`` float32; so are those of the teacher.
    """
    log_scores = functional.log_softmax(logits / temperature, dim=2)
    log_taught = functional.log_softmax(taught / temperature, dim=2)
    divergence = functional.kl_div(log_scores, log_taught, reduction='none', log_target=True)
    weights = torch.maximum(foreground_scores(logits.detach()), foreground_scores(taught))
    return temperature**2 * (weights * divergence.sum(dim=2)).sum()


def map_loss(level: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """
    Sum the mean divergence of the channels of images, as distributions over the cells.

    :param level: ``(B, C, rows, columns)`` float32; so is that of the teacher.
    """
    log_shares = functional.log_softmax(level.flatten(2) / MAP_TEMPERATURE, dim=2)  # (B, C, cells)
    log_taught = functional.log_softmax(taught.flatten(2) / MAP_TEMPERATURE, dim=2)
    divergence = functional.kl_div(log_shares, log_taught, reduction='sum', log_target=True)
    return MAP_TEMPERATURE**2 / level.shape[1] * divergence


def foreground_scores(logits: torch.Tensor) -> torch.Tensor:
    """Compute the probability of any object, ``(B, P)``, of ``(B, P, C + 1)`` logits."""
    return 1 - logits.softmax(dim=2)[..., 0]


def _check_teacher(
    source: str, teacher: MobileNetSsd, spec: ModelSpec, sizes: Sequence[Size]
) -> None:
    """Check that a teacher can see what the network sees, in all sizes of training."""
    for name in ('input_size', 'resize'):
        expected, received = getattr(spec, name), getattr(teacher.spec, name)
        if expected != received:
            raise ConfigError(
                f'{source}: expected a teacher with the {name} {expected} of this run, '
                f'got {received}'
            )
    for size in sizes:
        try:
            check_grids(teacher, resize_spec(teacher.spec, size))
        except ConfigError as error:
            raise ConfigError(f'{source}: the teacher does not fit this run: {error}') from error


def _align(
    source: str, teacher: ModelSpec, spec: ModelSpec, sizes: Sequence[Size], device: torch.device
) -> dict[Size, PriorAlignment]:
    """Align the priors of a teacher of the same classes, for each input size."""
    try:
        if teacher.class_names != spec.class_names:
            raise ConfigError(
                f'expected the classes {", ".join(spec.class_names)}, '
                f'got {", ".join(teacher.class_names)}'
            )
        return {
            size: align_priors(resize_spec(spec, size), resize_spec(teacher, size), device)
            for size in sizes
        }
    except ConfigError as error:
        raise ConfigError(
            f'{source}: cannot teach its logits and boxes: {error}; its feature maps it can, with '
            f'distillation.logit_weight=0, distillation.box_weight=0 and '
            f'distillation.feature_weight=1'
        ) from error


def _pair_levels(
    source: str, network: MobileNetSsd, teacher: MobileNetSsd
) -> list[tuple[int, int]]:
    """Pair the levels of equal grids, as indices in the network and in the teacher."""
    shapes = [[level.shape for level in n.spec.feature_maps] for n in (network, teacher)]
    pairs = [
        (i, shapes[1].index(shape)) for i, shape in enumerate(shapes[0]) if shape in shapes[1]
    ]
    if not pairs:
        raise ConfigError(
            f'{source}: expected a teacher with a grid of {shapes[0]} for '
            f'distillation.feature_weight, got {shapes[1]}'
        )
    return pairs
