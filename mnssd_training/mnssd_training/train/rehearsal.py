"""An experiment to one step that nothing is kept of: does everything fit together."""

from collections.abc import Iterator

from mnssd_training.config import Experiment
from mnssd_training.train.batches import read_steps
from mnssd_training.train.devices import make_fabric
from mnssd_training.train.introduction import introduction
from mnssd_training.train.sizes import input_size
from mnssd_training.train.state import set_up
from mnssd_training.train.step import backward, device_priors, take


def rehearse(experiment: Experiment) -> Iterator[str]:
    """
    Build everything and look at one batch, without a run folder.

    :param experiment: what would be trained.
    :return: lines for people.
    :raises MnssdError: naming the file or the key that is wrong.
    """
    fabric = make_fabric(experiment.training)
    state = set_up(fabric, experiment)
    yield from introduction(state, None)
    steps = read_steps(
        state.prepared.dataset,
        state.plan,
        start=0,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=0,
        device=fabric.device,
        size_of=lambda step: input_size(step, state.plan.total, experiment),
    )
    parts = take(fabric, steps)
    priors = device_priors(state.prepared.spec, fabric.device)
    losses = backward(fabric, state.model, state.prepared.criterion, parts, priors)
    total, classes, boxes = fabric.all_reduce(losses, reduce_op='sum').tolist()
    positives = sum(int((part.classes > 0).sum()) for part in parts)
    yield (
        f'first batch: {sum(len(part.names) for part in parts)} images, '
        f'{positives} priors that answer for objects, '
        f'loss {total:.4f} (classes {classes:.4f}, boxes {boxes:.4f})'
    )
