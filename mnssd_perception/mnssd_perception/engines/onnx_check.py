"""
Check an ONNX file before a runtime parses it.

A runtime opens what a file refers to and allocates what it declares, so both are refused here:
weights outside the file (relative paths count from the working directory, and the digest of a
bundle does not cover them), and tensors that declare more values than they hold. Control flow,
functions, sparse tensors and training graphs can do the same in other ways, and no exported
detector has them.

The drone has no ``onnx`` package. This reads the protobuf wire format as far as tensors can lie:
model, graph, node, attribute, tensor; without subgraphs and functions nothing is nested deeper.
Whatever a protobuf parser would merge or override is looked at, every occurrence of a field.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is
that of https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import prod

from mnssd_perception.errors import EngineError
from mnssd_perception.text import sanitize_text

__all__ = ['check_onnx', 'OnnxVersions']

MAX_FIELDS = 200_000  # the shipped network has 5,000
MAX_VARINT = 10  # bytes
MAX_RANK = 64

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; the others were never used by ONNX

IR_VERSION, OPSET_IMPORT, GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 1, 8, 7, 20, 25
OPSET_DOMAIN, OPSET_VERSION = 1, 2
NODE, INITIALIZER, SPARSE_INITIALIZER = 1, 5, 15
ATTRIBUTE = 5
TENSOR, TENSORS, SUBGRAPHS, SPARSE_TENSORS = 5, 10, (6, 11), (22, 23)
DIMS, DATA_TYPE, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 13, 14

# Bits of a value, by TensorProto.DataType; of types that are missing here, 8.
VALUE_BITS = {
    1: 32, 4: 16, 5: 16, 6: 32, 7: 64, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    21: 4, 22: 4, 23: 4, 25: 2, 26: 2,
}  # fmt: skip

# What tensors may take together, as a multiple of the file: varints expand small integers.
MAX_EXPANSION, EXPANSION_ALLOWANCE = 2, 1 << 20

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
    return versions


class _Checker:
    """
    Walks through one file.

    :ivar num_bytes: that the tensors so far take in memory.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self._fields = count(1)

    def check_model(self, message: memoryview) -> OnnxVersions:
        """Check a ModelProto."""
        ir, opset = 0, 0
        for field, value in self._read(message):
            if field == IR_VERSION and isinstance(value, int):
                ir = value
            elif field == OPSET_IMPORT and isinstance(value, memoryview):
                opset = max(opset, self._opset(value))
            elif field == GRAPH and isinstance(value, memoryview):
                self._check_graph(value)
            elif field == MODEL_FUNCTIONS:
                raise _unsupported('functions')
            elif field == MODEL_TRAINING:
                raise _unsupported('a training graph')
        return OnnxVersions(ir, opset)

    def _opset(self, message: memoryview) -> int:
        """Read an OperatorSetIdProto; 0 for a domain other than that of ONNX."""
        fields = dict(self._read(message))
        version = fields.get(OPSET_VERSION, 0)
        is_default = bytes(fields.get(OPSET_DOMAIN, b'')) in (b'', b'ai.onnx')
        return version if is_default and isinstance(version, int) else 0

    def _check_graph(self, message: memoryview) -> None:
        """Check a GraphProto."""
        for field, value in self._read(message):
            if field == SPARSE_INITIALIZER:
                raise _unsupported('sparse tensors')
            if field == NODE and isinstance(value, memoryview):
                for node_field, attribute in self._read(value):
                    if node_field == ATTRIBUTE and isinstance(attribute, memoryview):
                        self._check_attribute(attribute)
            elif field == INITIALIZER and isinstance(value, memoryview):
                self._check_tensor(value)

    def _check_attribute(self, message: memoryview) -> None:
        """Check an AttributeProto."""
        for field, value in self._read(message):
            if field in SUBGRAPHS:
                raise _unsupported('control flow')
            if field in SPARSE_TENSORS:
                raise _unsupported('sparse tensors')
            if field in (TENSOR, TENSORS) and isinstance(value, memoryview):
                self._check_tensor(value)

    def _check_tensor(self, message: memoryview) -> None:
        """Check a TensorProto and add up what it declares."""
        dims: list[int] = []
        bits, name, is_external = 8, b'', False
        for field, value in self._read(message):
            if field == DIMS:
                dims += [value] if isinstance(value, int) else self._varints(value)
            elif field == DATA_TYPE and isinstance(value, int):
                bits = VALUE_BITS.get(value, 8)
            elif field == NAME and isinstance(value, memoryview):
                name = bytes(value[:200])
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

    def _read(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Split a message into its fields: the number, and an integer or the content."""
        place = 0
        while place < len(message):
            if next(self._fields) > MAX_FIELDS:
                raise ValueError(f'it has more than {MAX_FIELDS} fields')
            key, place = _varint(message, place)
            field, wire_type = key >> 3, key & 7
            if field == 0:
                raise ValueError('a field has the number 0')
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
    return sanitize_text(name.decode(errors='replace'), 80)
