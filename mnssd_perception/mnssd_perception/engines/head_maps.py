"""
The outputs of a network that ends at the last convolutions of its heads.

Compilers for accelerators such as Hailo's take a network up to there: one map for each level and
head, (rows, columns, channels). Their values in that order are the raw heads of the level, so the
host only copies them to their place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import ModelSpec
import numpy as np
from numpy.typing import NDArray

HEADS = ('logits', 'offsets')


@dataclass(frozen=True)
class HeadMap:
    """
    The output of one head on one level.

    :ivar name: ``logits_0``, ``offsets_0`` and so on, the finest level first.
    :ivar head: index in ``HEADS``.
    :ivar shape: (rows, columns, channels); the channels are those of each prior in turn.
    :ivar priors: which of the P priors it holds.
    """

    name: str
    head: int
    shape: tuple[int, int, int]
    priors: slice

    def view(self, heads: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """View the part of ``logits`` (P, C + 1) and ``offsets`` (P, 4) that this map fills."""
        return heads[self.head][self.priors].reshape(self.shape)


def list_head_maps(spec: ModelSpec) -> tuple[HeadMap, ...]:
    """List the maps of a network: ``logits`` of all levels, then ``offsets`` of all."""
    ends = (0, *accumulate(level.num_priors for level in spec.feature_maps))
    return tuple(
        HeadMap(
            f'{name}_{index}',
            head,
            (*level.shape, len(level.sizes) * columns),
            slice(ends[index], ends[index + 1]),
        )
        for head, (name, columns) in enumerate(zip(HEADS, (spec.num_classes + 1, 4)))
        for index, level in enumerate(spec.feature_maps)
    )


def match_head_maps(
    spec: ModelSpec,
    outputs: Mapping[str, tuple[int, ...]],
    names_in_onnx: Callable[[str], Sequence[str]],
) -> dict[str, HeadMap]:
    """
    Find out which output of a compiled network is which map.

    Compilers rename outputs. The shape says which is which, but with three classes both heads of
    a level have one shape; then one of the names that the layer had in ONNX must be the map's.

    :param outputs: name to shape, which may lack leading ones.
    :param names_in_onnx: looks the former names of an output up.
    :raises EngineError: if the outputs are not those of the specification.
    """
    maps = list_head_maps(spec)
    shapes = {name: (1,) * (3 - len(shape)) + shape for name, shape in outputs.items()}
    matched: dict[str, HeadMap] = {}
    for head_map in maps:
        names = [name for name, shape in shapes.items() if shape == head_map.shape]
        if len(names) > 1:
            former = {name: list(names_in_onnx(name)) for name in names}
            names = [name for name in names if head_map.name in former[name]]
            if len(names) != 1:
                raise EngineError(
                    f'expected one of the outputs of shape {head_map.shape} to be called '
                    f"'{head_map.name}' in ONNX, got {former}; compile the network that "
                    "'mnssd compile-hailo' exports, whose outputs have those names"
                )
        if names:
            matched[names[0]] = head_map
    if not len(matched) == len(maps) == len(outputs):
        expected = {head_map.name: head_map.shape for head_map in maps}
        raise EngineError(f'expected a network with the outputs {expected}, got {shapes}')
    return matched
