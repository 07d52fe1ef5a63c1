"""
Check an ONNX file before a runtime parses it.

A runtime opens what a file refers to and allocates what it declares, so both are refused here:
weights outside the file (relative paths count from the working directory, and the digest of a
bundle does not cover them), tensors that declare more values than they hold, and operators that
no exported detector has. What an operator makes must have a declared shape, and what shapes are
computed from must be constant: a runtime that infers shapes strictly then allocates no more than
the file says. Control flow, functions, sparse tensors and training graphs can do the same in other
ways, and no exported detector has them.

The drone has no ``onnx`` package. This reads the protobuf wire format as far as tensors can lie;
without subgraphs and functions nothing is nested deeper. Whatever a protobuf parser would merge or
override is looked at, every occurrence of a field, and a field that is not known here is refused.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is
that of https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod

from mnssd_perception.errors import EngineError
from mnssd_perception.text import sanitize_text

MAX_FIELDS = 200_000  # the shipped network has 10,000
MAX_VARINT, MAX_KEY = 10, 5  # bytes
MAX_RANK = 64

# What the operators may make together: 4 GB if all were kept as float32. The shipped network makes
# a tenth of it, and keeps little of that at a time.
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

# Whose output shape depends on the values of their inputs after the first.
SHAPED = frozenset((
    'Expand', 'Pad', 'ReduceL2', 'ReduceMean', 'ReduceSum', 'Reshape', 'Resize', 'Slice',
    'Split', 'Squeeze', 'Unsqueeze',
))  # fmt: skip

MIN_OPSET = 13  # shapes of older operators cannot all be inferred

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; the others were never used by ONNX
NUMBER, CONTENT, FLOAT32 = (VARINT,), (LENGTH,), (FIXED32,)
NUMBERS, FLOATS, DOUBLES = (VARINT, LENGTH), (FIXED32, LENGTH), (FIXED64, LENGTH)

IR_VERSION, OPSET_IMPORT, GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 1, 8, 7, 20, 25
OPSET_DOMAIN, OPSET_VERSION = 1, 2
NODE, INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, VALUE_INFO, SPARSE_INITIALIZER = 1, 5, 11, 12, 13, 15
INPUT, OUTPUT, OPERATOR, ATTRIBUTE, DOMAIN = 1, 2, 4, 5, 7
TENSOR, TENSORS, SUBGRAPHS, SPARSE_TENSORS = 5, 10, (6, 11), (22, 23)
DIMS, DATA_TYPE, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 13, 14
INFO_NAME, INFO_TYPE, TENSOR_TYPE, SHAPE, DIMENSION, SIDE = 1, 2, 1, 2, 1, 1

# The fields of each message that are read or harmless, and their wire types.
Fields = Mapping[int, tuple[int, ...]]
MODEL_FIELDS: Fields = {
    1: NUMBER, 2: CONTENT, 3: CONTENT, 4: CONTENT, 5: NUMBER, 6: CONTENT, 7: CONTENT, 8: CONTENT,
    14: CONTENT, 20: CONTENT, 25: CONTENT,
}  # fmt: skip
OPSET_FIELDS: Fields = {1: CONTENT, 2: NUMBER}
GRAPH_FIELDS: Fields = dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 15, 16), CONTENT)
NODE_FIELDS: Fields = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 9), CONTENT)
ATTRIBUTE_FIELDS: Fields = {
    1: CONTENT, 2: FLOAT32, 3: NUMBER, 4: CONTENT, 5: CONTENT, 6: CONTENT, 7: FLOATS, 8: NUMBERS,
    9: CONTENT, 10: CONTENT, 11: CONTENT, 13: CONTENT, 20: NUMBER, 22: CONTENT, 23: CONTENT,
}  # fmt: skip
TENSOR_FIELDS: Fields = {
    1: NUMBERS, 2: NUMBER, 4: FLOATS, 5: NUMBERS, 6: CONTENT, 7: NUMBERS, 8: CONTENT, 9: CONTENT,
    10: DOUBLES, 11: NUMBERS, 12: CONTENT, 13: CONTENT, 14: NUMBER, 16: CONTENT,
}  # fmt: skip
INFO_FIELDS: Fields = dict.fromkeys((1, 2, 3, 4), CONTENT)
TYPE_FIELDS: Fields = {1: CONTENT, 6: CONTENT}
TENSOR_TYPE_FIELDS: Fields = {1: NUMBER, 2: CONTENT}
SHAPE_FIELDS: Fields = {1: CONTENT}
DIMENSION_FIELDS: Fields = {1: NUMBER, 2: CONTENT, 3: CONTENT}

# Bits of a value, by TensorProto.DataType; of types that are missing here, 8.
VALUE_BITS = {
    1: 32, 4: 16, 5: 16, 6: 32, 7: 64, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    21: 4, 22: 4, 23: 4, 25: 2, 26: 2,
}  # fmt: skip

# What tensors may take together, as a multiple of the file: varints expand small integers.
MAX_EXPANSION, EXPANSION_ALLOWANCE = 2, 1 << 20

HINT = 'export the network with mnssd'

Value = int | memoryview


@dataclass(frozen=True)
class OnnxVersions:
    """
    What a runtime must know to read a file.

    :ivar ir: version of the ONNX IR.
    :ivar opset: version of the default operator set; 0 where the file imports none.
    """

    ir: int
    opset: int


def check_onnx(model: bytes) -> OnnxVersions:
    """
    Refuse an ONNX file that refers to other files or declares more than it holds.

    :param model: content of the file.
    :return: the versions that it was written for.
    :raises EngineError: naming what is not supported, or if it is not an ONNX file.
    """
    checker = _Checker()
    try:
        versions = checker.check_model(memoryview(model))
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
    return versions


@dataclass(frozen=True)
class _Node:
    """A node of the graph, as far as the shapes of its outputs depend on it."""

    operator: str
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


class _Checker:
    """
    Walks through one file.

    :ivar num_bytes: that the tensors so far take in memory.
    :ivar num_values: of what the operators so far make, as declared.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self.num_values = 0
        self._fields = count(1)

    def check_model(self, message: memoryview) -> OnnxVersions:
        """Check a ModelProto."""
        ir = 0
        opsets: list[int] = []
        graphs: list[memoryview] = []
        for field, value in self._read(message, MODEL_FIELDS):
            if field == IR_VERSION and isinstance(value, int):
                ir = value
            elif field == OPSET_IMPORT and isinstance(value, memoryview):
                opsets += self._opset(value)
            elif field == GRAPH and isinstance(value, memoryview):
                graphs.append(value)
            elif field == MODEL_FUNCTIONS:
                raise _unsupported('functions')
            elif field == MODEL_TRAINING:
                raise _unsupported('a training graph')
        if len(graphs) > 1:  # a parser would merge them
            raise ValueError('it has two graphs')
        opset = min(opsets, default=0)
        if graphs and self._check_graph(graphs[0]) and opset < MIN_OPSET:
            raise EngineError(
                f'expected operators of ONNX opset {MIN_OPSET} or later, got {opset}; {HINT}'
            )
        return OnnxVersions(ir, opset)

    def _opset(self, message: memoryview) -> list[int]:
        """Read an OperatorSetIdProto; nothing for a domain other than that of ONNX."""
        version, domain = 0, b''
        for field, value in self._read(message, OPSET_FIELDS):
            if field == OPSET_VERSION and isinstance(value, int):
                version = value
            elif field == OPSET_DOMAIN and isinstance(value, memoryview):
                domain = bytes(value)
        return [version] if domain in (b'', b'ai.onnx') else []

    def _check_graph(self, message: memoryview) -> int:
        """Check a GraphProto; give the number of its nodes."""
        nodes: list[_Node] = []
        constant: set[bytes] = {b''}  # an input that is left out
        given: set[bytes] = set()
        declared: dict[bytes, int | None] = {}
        for field, value in self._read(message, GRAPH_FIELDS):
            if field == SPARSE_INITIALIZER:
                raise _unsupported('sparse tensors')
            if not isinstance(value, memoryview):
                continue
            if field == NODE:
                nodes.append(self._check_node(value))
            elif field == INITIALIZER:
                constant.add(self._check_tensor(value))
            elif field == GRAPH_INPUT:
                given.add(self._declared(value)[0])
            elif field in (GRAPH_OUTPUT, VALUE_INFO):
                name, num_values = self._declared(value)
                if name in declared and declared[name] != num_values:
                    raise ValueError(f"'{_shown(name)}' has two shapes")
                declared[name] = num_values
        self._check_shapes(nodes, constant - given, declared)
        return len(nodes)

    def _check_shapes(
        self, nodes: list[_Node], constant: set[bytes], declared: Mapping[bytes, int | None]
    ) -> None:
        """Check that the shapes of what a graph makes can be inferred, and add them up."""
        constant = constant.union(*(node.outputs for node in nodes if node.operator == 'Constant'))
        for node in nodes:
            if node.operator == 'Constant':
                continue
            if node.operator in SHAPED and not constant.issuperset(node.inputs[1:]):
                raise EngineError(
                    f"expected constant shapes, an operator '{node.operator}' computes with some "
                    f'that are not; {HINT}'
                )
            for name in filter(None, node.outputs):
                num_values = declared.get(name)
                if num_values is None:
                    raise EngineError(
                        f"expected the shapes of all tensors in the ONNX file, '{_shown(name)}' "
                        f'has none; {HINT}'
                    )
                self.num_values += num_values

    def _check_node(self, message: memoryview) -> _Node:
        """Check a NodeProto."""
        operator = b''
        inputs: list[bytes] = []
        outputs: list[bytes] = []
        for field, value in self._read(message, NODE_FIELDS):
            if not isinstance(value, memoryview):
                continue
            if field == ATTRIBUTE:
                self._check_attribute(value)
            elif field == INPUT:
                inputs.append(bytes(value))
            elif field == OUTPUT:
                outputs.append(bytes(value))
            elif field == OPERATOR:
                operator = bytes(value)
            elif field == DOMAIN and bytes(value) not in (b'', b'ai.onnx'):
                raise _unsupported(f"operators of '{_shown(bytes(value))}'")
        name = _shown(operator)
        if name not in OPERATORS:
            raise EngineError(
                f"op type '{name}' is not supported in a bundle; supported are "
                f'{", ".join(sorted(OPERATORS))}; {HINT}'
            )
        return _Node(name, tuple(inputs), tuple(outputs))

    def _declared(self, message: memoryview) -> tuple[bytes, int | None]:
        """Read a ValueInfoProto: its name, and how many values it declares, if it says so."""
        name = b''
        types: list[memoryview] = []
        for field, value in self._read(message, INFO_FIELDS):
            if field == INFO_NAME and isinstance(value, memoryview):
                name = bytes(value)
            elif field == INFO_TYPE and isinstance(value, memoryview):
                types.append(value)
        for field, fields in (TENSOR_TYPE, TYPE_FIELDS), (SHAPE, TENSOR_TYPE_FIELDS):
            types = self._contents(types, field, fields)
        shapes = types
        if len(shapes) != 1:
            return name, None
        sides = []
        for dimension in self._contents(shapes, DIMENSION, SHAPE_FIELDS):
            parts = [part for part in self._read(dimension, DIMENSION_FIELDS) if part[0] != 3]
            if len(parts) != 1 or not isinstance(parts[0][1], int):
                return name, None
            sides.append(parts[0][1])
        if len(sides) > MAX_RANK:
            raise ValueError(f"'{_shown(name)}' has {len(sides)} dimensions")
        return name, prod(sides)

    def _contents(
        self, messages: list[memoryview], field: int, fields: Fields
    ) -> list[memoryview]:
        """Collect a field of messages."""
        return [
            value
            for message in messages
            for number, value in self._read(message, fields)
            if number == field and isinstance(value, memoryview)
        ]

    def _check_attribute(self, message: memoryview) -> None:
        """Check an AttributeProto."""
        num_single = 0
        for field, value in self._read(message, ATTRIBUTE_FIELDS):
            if field in SUBGRAPHS:
                raise _unsupported('control flow')
            if field in SPARSE_TENSORS:
                raise _unsupported('sparse tensors')
            if field in (TENSOR, TENSORS) and isinstance(value, memoryview):
                self._check_tensor(value)
            num_single += field == TENSOR
        if num_single > 1:  # a parser would merge them, and their dimensions
            raise ValueError('an attribute has two values')

    def _check_tensor(self, message: memoryview) -> bytes:
        """Check a TensorProto and add up what it declares; give its name."""
        dims: list[int] = []
        bits, name, is_external = 8, b'', False
        for field, value in self._read(message, TENSOR_FIELDS):
            if field == DIMS:
                dims += [value] if isinstance(value, int) else self._varints(value)
            elif field == DATA_TYPE and isinstance(value, int):
                bits = VALUE_BITS.get(value, 8)
            elif field == NAME and isinstance(value, memoryview):
                name = bytes(value)
            elif field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0):
                is_external = True
        if is_external:
            raise EngineError(
                f"expected all weights inside the ONNX file, tensor '{_shown(name)}' refers to "
                'another file; export with external_data=False'
            )
        if len(dims) > MAX_RANK:
            raise ValueError(f"tensor '{_shown(name)}' has {len(dims)} dimensions")
        # A negative side, which varints wrap to one beyond 2^63, counts as a huge one.
        self.num_bytes += -(-prod(dims) * bits // 8)
        return name

    def _read(self, message: memoryview, fields: Fields) -> Iterator[tuple[int, Value]]:
        """Split a message into its fields: the number, and an integer or the content."""
        place = 0
        while place < len(message):
            if next(self._fields) > MAX_FIELDS:
                raise ValueError(f'it has more than {MAX_FIELDS} fields')
            start = place
            key, place = _varint(message, place)
            field, wire_type = key >> 3, key & 7
            if (
                place - start > MAX_KEY
                or key >> 32
                or (place - start > 1 and not message[place - 1])
            ):
                # A parser would read at most 5 bytes and drop what does not fit into 32 bits.
                raise ValueError('a field number is longer than it should be')
            if field == 0:
                raise ValueError('a field has the number 0')
            if wire_type not in fields.get(field, ()):
                raise ValueError(f'unknown field {field} of wire type {wire_type}')
            if wire_type == VARINT:
                number, place = _varint(message, place)
                yield field, number
                continue
            if wire_type == LENGTH:
                length, place = _varint(message, place)
            elif wire_type in (FIXED32, FIXED64):
                length = 4 if wire_type == FIXED32 else 8
            else:
                raise ValueError(f'unknown wire type {wire_type}')
            if length > len(message) - place:
                raise ValueError('it is cut short')
            yield field, message[place : place + length]
            place += length

    def _varints(self, packed: memoryview) -> Iterator[int]:
        """Read a packed list of integers."""
        place = 0
        while place < len(packed):
            if next(self._fields) > MAX_FIELDS:
                raise ValueError(f'it has more than {MAX_FIELDS} fields')
            number, place = _varint(packed, place)
            yield number


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Read an unsigned integer of 64 bits; give it and the place after it."""
    number = 0
    for index in range(MAX_VARINT):
        byte = message[place + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + index + 1
    raise ValueError('an integer has more than 10 bytes')


def _unsupported(what: str) -> EngineError:
    """Word what no detector needs."""
    return EngineError(f'expected a plain feed-forward ONNX network, got one with {what}')


def _shown(name: bytes) -> str:
    """Show the name of a tensor."""
    return sanitize_text(name[:200].decode(errors='replace'), 80)
