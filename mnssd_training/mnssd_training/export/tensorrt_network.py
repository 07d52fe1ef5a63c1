"""Shape exported networks so that TensorRT can read them."""

from typing import Any

from mnssd_training.errors import ExportError

# Operators that only move values, so they may come before or after a conversion.
MOVING = frozenset(('Identity', 'Reshape', 'Squeeze', 'Transpose', 'Unsqueeze'))


def cast_image_first(proto: Any) -> None:
    """
    Make the conversion of the image to float its first operator, in place.

    TensorRT has no layer for uint8 but that conversion, not even a reshape or a transpose
    (https://github.com/NVIDIA/TensorRT/issues/3985). The other engines keep the order of the
    exporter: moving a quarter of the bytes is faster on a CPU.

    :param proto: an ``onnx.ModelProto``, which lacks shapes of some tensors afterwards.
    :raises ExportError: if something else than a conversion computes with the image.
    """
    graph = proto.graph
    if not graph.input:
        raise ExportError('expected an ONNX network that takes an image, got one without inputs')
    name, moves = graph.input[0].name, []
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in (*MOVING, 'Cast'):
            got = ', '.join(node.op_type for node in users) or 'nothing'
            raise ExportError(f'expected a network that converts its image by a Cast, got {got}')
        if users[0].op_type == 'Cast':
            break
        moves += users
        name = users[0].output[0]
    if not moves:
        return
    first, last = moves[0], moves[-1]
    cast = type(users[0])()
    cast.CopyFrom(users[0])
    graph.node.remove(users[0])
    stale = {output for node in moves for output in node.output}
    last.output[0] = cast.output[0]
    cast.input[0], cast.output[0] = first.input[0], f'{first.input[0]}_float'
    first.input[0] = cast.output[0]
    graph.node.insert(list(graph.node).index(first), cast)
    infos = [info for info in graph.value_info if info.name not in stale]
    del graph.value_info[:]
    graph.value_info.extend(infos)
