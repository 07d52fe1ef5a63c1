"""
Check an ONNX file before a runtime parses it.

A runtime opens what a file refers to and allocates what it declares, so both are refused here:
weights outside the file (relative paths count from the working directory, and the digest of a
bundle does not cover them), tensors that declare more values than they hold, and operators that
no exported detector has. What an operator makes must have a declared shape, and what shapes are
computed from must be constant: a runtime that infers shapes strictly then allocates no more than
the file says. Control flow, functions, sparse tensors and training graphs can do the same in other
ways, and no exported detector has them.

A network may take a batch of any size: one name stands for the leading dimension of shapes. What
a runtime infers from a name proves nothing (a Reshape to -1 agrees with every name), so the check
also makes a copy of the file in which the name is a number, for the runtime to verify.

The drone has no ``onnx`` package. This reads the protobuf wire format of the messages below, which
are all that can hold a tensor without subgraphs and functions. It checks every occurrence of a
field, because a protobuf parser would merge them or take the last, and refuses all other fields.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is
that of https://protobuf.dev/programming-guides/encoding.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from typing import Any

from mnssd_perception.errors import EngineError
from mnssd_perception.text import sanitize_text

MAX_FIELDS = 200_000  # the shipped network has 10,000, and 25,000 when it is quantised
MAX_BATCH = 8  # images that a network of any batch size gets at once
MAX_VARINT, MAX_KEY = 10, 5  # bytes
MAX_RANK = 64

# Of the outputs of all operators: 4 GB if all were kept as float32. Those of the shipped network
# have a tenth of it, and few are kept at a time.
MAX_VALUES = 1 << 30

# What the exporter writes for the networks of mnssd, with backbones of timm, and what quantisation
# adds.
OPERATORS = frozenset((
    'Add', 'AveragePool', 'BatchNormalization', 'Cast', 'Clip', 'Concat', 'Constant', 'Conv',
    'Cos', 'DequantizeLinear', 'Div', 'Erf', 'Expand', 'Flatten', 'Gather', 'Gelu', 'Gemm',
    'GlobalAveragePool', 'HardSigmoid', 'HardSwish', 'Identity', 'LayerNormalization',
    'LeakyRelu', 'MatMul', 'MaxPool', 'Mul', 'Pad', 'Pow', 'QuantizeLinear', 'ReduceL2',
    'ReduceMean', 'ReduceSum', 'Relu', 'Reshape', 'Resize', 'Sigmoid', 'Sin', 'Slice', 'Softmax',
    'Split', 'Sqrt', 'Squeeze', 'Sub', 'Tanh', 'Transpose', 'Unsqueeze',
))  # fmt: skip

# The shape of their output depends on the values of their inputs after the first.
SHAPED_BY_VALUES = frozenset((
    'Expand', 'Pad', 'ReduceL2', 'ReduceMean', 'ReduceSum', 'Reshape', 'Resize', 'Slice',
    'Split', 'Squeeze', 'Unsqueeze',
))  # fmt: skip

MIN_OPSET = 13  # shapes of older operators cannot all be inferred

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; the others were never used by ONNX
NUMBER, CONTENT, FLOAT32 = (VARINT,), (LENGTH,), (FIXED32,)
NUMBERS, FLOATS, DOUBLES = (VARINT, LENGTH), (FIXED32, LENGTH), (FIXED64, LENGTH)

# The fields of each message that are read or harmless: number to name and wire types.
Schema = Mapping[int, tuple[str, tuple[int, ...]]]
MODEL: Schema = {
    1: ('ir_version', NUMBER), 2: ('producer_name', CONTENT), 3: ('producer_version', CONTENT),
    4: ('domain', CONTENT), 5: ('model_version', NUMBER), 6: ('doc_string', CONTENT),
    7: ('graph', CONTENT), 8: ('opset_import', CONTENT), 14: ('metadata_props', CONTENT),
    20: ('training_info', CONTENT), 25: ('functions', CONTENT),
}  # fmt: skip
OPSET: Schema = {1: ('domain', CONTENT), 2: ('version', NUMBER)}
GRAPH: Schema = {
    1: ('node', CONTENT), 2: ('name', CONTENT), 5: ('initializer', CONTENT),
    10: ('doc_string', CONTENT), 11: ('input', CONTENT), 12: ('output', CONTENT),
    13: ('value_info', CONTENT), 14: ('quantization_annotation', CONTENT),
    15: ('sparse_initializer', CONTENT), 16: ('metadata_props', CONTENT),
}  # fmt: skip
NODE: Schema = {
    1: ('input', CONTENT), 2: ('output', CONTENT), 3: ('name', CONTENT), 4: ('op_type', CONTENT),
    5: ('attribute', CONTENT), 6: ('doc_string', CONTENT), 7: ('domain', CONTENT),
    9: ('metadata_props', CONTENT),
}  # fmt: skip
ATTRIBUTE: Schema = {
    1: ('name', CONTENT), 2: ('f', FLOAT32), 3: ('i', NUMBER), 4: ('s', CONTENT),
    5: ('t', CONTENT), 6: ('g', CONTENT), 7: ('floats', FLOATS), 8: ('ints', NUMBERS),
    9: ('strings', CONTENT), 10: ('tensors', CONTENT), 11: ('graphs', CONTENT),
    13: ('doc_string', CONTENT), 20: ('type', NUMBER), 22: ('sparse_tensor', CONTENT),
    23: ('sparse_tensors', CONTENT),
}  # fmt: skip
TENSOR: Schema = {
    1: ('dims', NUMBERS), 2: ('data_type', NUMBER), 4: ('float_data', FLOATS),
    5: ('int32_data', NUMBERS), 6: ('string_data', CONTENT), 7: ('int64_data', NUMBERS),
    8: ('name', CONTENT), 9: ('raw_data', CONTENT), 10: ('double_data', DOUBLES),
    11: ('uint64_data', NUMBERS), 12: ('doc_string', CONTENT), 13: ('external_data', CONTENT),
    14: ('data_location', NUMBER), 16: ('metadata_props', CONTENT),
}  # fmt: skip
VALUE_INFO: Schema = {
    1: ('name', CONTENT), 2: ('type', CONTENT), 3: ('doc_string', CONTENT),
    4: ('metadata_props', CONTENT),
}  # fmt: skip
TYPE: Schema = {1: ('tensor_type', CONTENT), 6: ('denotation', CONTENT)}
TENSOR_TYPE: Schema = {1: ('elem_type', NUMBER), 2: ('shape', CONTENT)}
SHAPE: Schema = {1: ('dim', CONTENT)}
DIMENSION: Schema = {
    1: ('dim_value', NUMBER), 2: ('dim_param', CONTENT), 3: ('denotation', CONTENT)
}  # fmt: skip
ONNX_DOMAINS = (b'', b'ai.onnx')

# Bits of a value, by TensorProto.DataType; of types that are missing here, 8.
VALUE_BITS = {
    1: 32, 4: 16, 5: 16, 6: 32, 7: 64, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    21: 4, 22: 4, 23: 4, 25: 2, 26: 2,
}  # fmt: skip

# What tensors may take together, as a multiple of the file: varints expand small integers.
MAX_EXPANSION, EXPANSION_ALLOWANCE = 2, 1 << 20

HINT = 'export the network with mnssd'

# Name of a field to its values in the order of the file: integers, or the content.
Message = Mapping[str, list[Any]]


@dataclass(frozen=True)
class OnnxVersions:
    """
    The versions that a runtime must support to read a file.

    :ivar ir: of the ONNX IR.
    :ivar opset: of the default operator set; 0 where the file imports none.
    :ivar fixed: the network for :data:`MAX_BATCH` images, where it takes a batch of any size.
    """

    ir: int
    opset: int
    fixed: bytes | None = None


def check_onnx(model: bytes) -> OnnxVersions:
    """
    Refuse an ONNX file that refers to other files or declares more than it holds.

    :return: the versions that it was written for.
    :raises EngineError: naming what is not supported, or if it is not an ONNX file.
    """
    checker = _Checker()
    fixed = bytearray(model)
    try:
        versions = checker.check_model(memoryview(fixed))
    except (IndexError, ValueError) as error:
        raise EngineError(f'not an ONNX network, or damaged: {error}') from error
    limit = MAX_EXPANSION * len(model) + EXPANSION_ALLOWANCE
    if checker.num_bytes > limit:
        raise EngineError(
            f'expected tensors of at most {limit} bytes in a file of {len(model)}, the network '
            f'declares {checker.num_bytes}'
        )
    if checker.num_values > MAX_VALUES:
        raise EngineError(
            f'expected operators that make at most {MAX_VALUES} values together, the network '
            f'declares {checker.num_values}; make its input smaller'
        )
    return replace(versions, fixed=bytes(fixed)) if checker.batch else versions


class _Checker:
    """
    Checks one file.

    :ivar num_bytes: that the tensors declare.
    :ivar num_values: that the outputs of the operators declare.
    :ivar batch: the name of the leading dimension; empty where all are numbers.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self.num_values = 0
        self.batch = b''
        self._num_fields = count(1)

    def check_model(self, content: memoryview) -> OnnxVersions:
        model = self._read(content, MODEL)
        if model['functions']:
            raise _unsupported('functions')
        if model['training_info']:
            raise _unsupported('a training graph')
        if len(model['graph']) > 1:  # a parser would merge them
            raise ValueError('it has two graphs')
        opsets = [self._read(opset, OPSET) for opset in model['opset_import']]
        versions = [
            _last(opset['version'], 0)
            for opset in opsets
            if _last(opset['domain'], b'') in ONNX_DOMAINS
        ]
        opset = min(versions, default=0)
        num_nodes = sum(self._check_graph(graph) for graph in model['graph'])
        if num_nodes and opset < MIN_OPSET:
            raise EngineError(
                f'expected operators of ONNX opset {MIN_OPSET} or later, got {opset}; {HINT}'
            )
        return OnnxVersions(_last(model['ir_version'], 0), opset)

    def _check_graph(self, content: memoryview) -> int:
        """Check a graph and count its nodes."""
        graph = self._read(content, GRAPH)
        if graph['sparse_initializer']:
            raise _unsupported('sparse tensors')
        nodes = [self._check_node(node) for node in graph['node']]
        constants = {self._check_tensor(tensor) for tensor in graph['initializer']}
        constants -= {self._read_value_info(info)[0] for info in graph['input']}
        constants.add(b'')  # an input that is left out
        for operator, node in nodes:
            if operator == 'Constant':
                constants.update(map(bytes, node['output']))
        sizes: dict[bytes, int | None] = {}
        for info in (*graph['output'], *graph['value_info']):
            name, size = self._read_value_info(info)
            if sizes.setdefault(name, size) != size:
                raise ValueError(f"'{_show(name)}' has two shapes")
        for operator, node in nodes:
            if operator != 'Constant':
                self._check_shapes(operator, node, constants, sizes)
        return len(nodes)

    def _check_shapes(
        self,
        operator: str,
        node: Message,
        constants: set[bytes],
        sizes: Mapping[bytes, int | None],
    ) -> None:
        """Check that the shapes of what a node makes can be inferred, and add them up."""
        inputs = map(bytes, node['input'][1:])
        if operator in SHAPED_BY_VALUES and not constants.issuperset(inputs):
            raise EngineError(
                f"expected constant shapes, an operator '{operator}' computes with some "
                f'that are not; {HINT}'
            )
        for name in filter(None, node['output']):
            size = sizes.get(bytes(name))
            if size is None:
                raise EngineError(
                    f"expected the shapes of all tensors in the ONNX file, '{_show(name)}' "
                    f'has none; {HINT}'
                )
            self.num_values += size

    def _check_node(self, content: memoryview) -> tuple[str, Message]:
        node = self._read(content, NODE)
        for attribute in node['attribute']:
            self._check_attribute(attribute)
        for domain in node['domain']:
            if domain not in ONNX_DOMAINS:
                raise _unsupported(f"operators of '{_show(domain)}'")
        operator = _show(_last(node['op_type'], b''))
        if operator not in OPERATORS:
            raise EngineError(
                f"op type '{operator}' is not supported in a bundle; supported are "
                f'{", ".join(sorted(OPERATORS))}; {HINT}'
            )
        return operator, node

    def _check_attribute(self, content: memoryview) -> None:
        attribute = self._read(content, ATTRIBUTE)
        if attribute['g'] or attribute['graphs']:
            raise _unsupported('control flow')
        if attribute['sparse_tensor'] or attribute['sparse_tensors']:
            raise _unsupported('sparse tensors')
        for tensor in (*attribute['t'], *attribute['tensors']):
            self._check_tensor(tensor)
        if len(attribute['t']) > 1:  # a parser would merge them, and their dimensions
            raise ValueError('an attribute has two values')

    def _check_tensor(self, content: memoryview) -> bytes:
        """Check a tensor, add up what it declares, and return its name."""
        tensor = self._read(content, TENSOR)
        name: bytes = _last(tensor['name'], b'')
        if tensor['external_data'] or any(tensor['data_location']):
            raise EngineError(
                f"expected all weights inside the ONNX file, tensor '{_show(name)}' refers to "
                'another file; export with external_data=False'
            )
        dims: list[int] = []
        for value in tensor['dims']:
            dims += [value] if isinstance(value, int) else self._read_varints(value)
        if len(dims) > MAX_RANK:
            raise ValueError(f"tensor '{_show(name)}' has {len(dims)} dimensions")
        # A negative side, which varints wrap to one beyond 2^63, counts as a huge one.
        bits = VALUE_BITS.get(_last(tensor['data_type'], 0), 8)
        self.num_bytes += -(-prod(dims) * bits // 8)
        return name

    def _read_value_info(self, content: memoryview) -> tuple[bytes, int | None]:
        """Read the name of a value, and its size if the shape says it."""
        info = self._read(content, VALUE_INFO)
        name: bytes = _last(info['name'], b'')
        tensor_types = [
            tensor for types in info['type'] for tensor in self._read(types, TYPE)['tensor_type']
        ]
        shapes = [
            shape for tensor in tensor_types for shape in self._read(tensor, TENSOR_TYPE)['shape']
        ]
        if len(shapes) != 1:
            return name, None
        sides: list[int] = []
        for dim in self._read(shapes[0], SHAPE)['dim']:
            dimension = self._read(dim, DIMENSION)
            if not sides and self._fix_batch(dim, dimension):
                sides.append(MAX_BATCH)
                continue
            if len(dimension['dim_value']) != 1 or dimension['dim_param']:
                return name, None
            sides += dimension['dim_value']
        if len(sides) > MAX_RANK:
            raise ValueError(f"'{_show(name)}' has {len(sides)} dimensions")
        return name, prod(sides)

    def _fix_batch(self, content: memoryview, dimension: Message) -> bool:
        """Write the number over the name of a leading dimension, if that is all it has."""
        if list(dimension) != ['dim_param'] or len(dimension['dim_param']) != 1:
            return False
        name = bytes(dimension['dim_param'][0])
        # A number of as many bytes as the name and its length: varints may be padded.
        num_bytes = len(content) - 1
        if not name or num_bytes > MAX_VARINT or name != (self.batch or name):
            return False
        self.batch = name
        padding = [0x80] * (num_bytes - 2)
        content[:] = bytes([1 << 3 | VARINT, MAX_BATCH | 0x80, *padding, 0])
        return True

    def _read(self, content: memoryview | bytes, schema: Schema) -> Message:
        """Split a message into its fields."""
        fields: dict[str, list[Any]] = defaultdict(list)
        position = 0
        while position < len(content):
            self._count_field()
            start = position
            key, position = _read_varint(content, position)
            # A parser would read at most 5 bytes and drop what does not fit into 32 bits.
            num_bytes = position - start
            if num_bytes > MAX_KEY or key >> 32 or (num_bytes > 1 and not content[position - 1]):
                raise ValueError('a field number is longer than it should be')
            field, wire_type = key >> 3, key & 7
            name, wire_types = schema.get(field, ('', ()))
            if wire_type not in wire_types:
                raise ValueError(f'unknown field {field} of wire type {wire_type}')
            if wire_type == VARINT:
                number, position = _read_varint(content, position)
                fields[name].append(number)
                continue
            length = {FIXED32: 4, FIXED64: 8}.get(wire_type)
            if length is None:
                length, position = _read_varint(content, position)
            if length > len(content) - position:
                raise ValueError('it is cut short')
            fields[name].append(content[position : position + length])
            position += length
        return fields

    def _read_varints(self, packed: memoryview) -> Iterator[int]:
        position = 0
        while position < len(packed):
            self._count_field()
            number, position = _read_varint(packed, position)
            yield number

    def _count_field(self) -> None:
        if next(self._num_fields) > MAX_FIELDS:
            raise ValueError(f'it has more than {MAX_FIELDS} fields')


def _last(values: list[Any], default: Any) -> Any:
    """Choose the value that counts where a field is repeated; content as bytes."""
    value = values[-1] if values else default
    return bytes(value) if isinstance(value, memoryview) else value


def _read_varint(content: memoryview | bytes, position: int) -> tuple[int, int]:
    """Read an unsigned integer of 64 bits; also the position after it."""
    number = 0
    for index in range(MAX_VARINT):
        byte = content[position + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, position + index + 1
    raise ValueError('an integer has more than 10 bytes')


def _unsupported(feature: str) -> EngineError:
    return EngineError(f'expected a plain feed-forward ONNX network, got one with {feature}')


def _show(name: bytes) -> str:
    return sanitize_text(bytes(name[:200]).decode(errors='replace'), 80)
