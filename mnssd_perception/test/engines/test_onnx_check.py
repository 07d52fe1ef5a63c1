"""Tests of the check of ONNX files, held against the onnx package where it is installed."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.engines.onnx_check import check_onnx, MAX_BATCH, MAX_FIELDS, OnnxVersions
from mnssd_perception.errors import EngineError
import numpy as np
import pytest

onnx = pytest.importorskip('onnx')

from google.protobuf.message import DecodeError  # noqa: E402 (comes with onnx)
from onnx import helper, numpy_helper, TensorProto  # noqa: E402

FLOAT = TensorProto.FLOAT


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name='weights'):
    return numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), name)


def external(name='weights', location='/etc/hostname'):
    """Make a tensor whose values lie in another file."""
    made = TensorProto(name=name, data_type=FLOAT, dims=[2, 3])
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key='location', value=location)
    return made


def graph(*initializers, nodes=()):
    made = helper.make_graph(list(nodes), 'g', [], [])
    made.initializer.extend(initializers)
    return made


def model(made=None, **changes):
    return helper.make_model(made or graph(), ir_version=8, **changes)


def node_with(**attributes):
    return helper.make_node('Constant', [], ['b'], **attributes)


def sparse(values=None):
    """Make a sparse tensor."""
    return helper.make_sparse_tensor(
        values or helper.make_tensor('values', FLOAT, [1], [1.0]),
        helper.make_tensor('indices', TensorProto.INT64, [1], [2]),
        [1000],
    )


def function(*nodes):
    return helper.make_function('own', 'F', ['a'], ['b'], nodes, [])


def refused(made, message):
    with pytest.raises(EngineError, match=message):
        check_onnx(made if isinstance(made, bytes) else made.SerializeToString())


def test_an_empty_file_has_no_versions():
    assert check_onnx(b'') == OnnxVersions(0, 0)


def test_the_shipped_network_passes():
    bundle = open_bundle(shipped_bundle_path())
    artefact = bundle.artefact('onnxruntime', 'fp32')
    assert check_onnx(bundle.read(artefact.path)) == OnnxVersions(8, 18)


def test_versions():
    opsets = [helper.make_opsetid('com.microsoft', 99), helper.make_opsetid('', 17)]
    assert check_onnx(model(opset_imports=opsets).SerializeToString()) == OnnxVersions(8, 17)


def test_tensors_of_all_places_pass():
    constant = node_with(value=tensor(), values=[tensor(), tensor()], scale=2.0, axes=[1, 2])
    check_onnx(model(graph(tensor(), tensor('b'), nodes=[constant])).SerializeToString())


@pytest.mark.parametrize(
    'location', ['/etc/hostname', 'weights.bin', '../weights.bin', './weights.bin', '']
)
def test_external_initializers_are_refused_wherever_they_lie(location):
    made = model(graph(tensor(), external('stem.weight', location)))
    refused(made, "inside the ONNX file, tensor 'stem.weight' refers to another file")


@pytest.mark.parametrize('attributes', [{'value': external()}, {'v': [tensor(), external()]}])
def test_external_tensors_in_attributes_are_refused(attributes):
    refused(model(graph(nodes=[node_with(**attributes)])), 'refers to another file')


def test_external_data_without_a_data_location_are_refused():
    made = tensor()
    made.external_data.add(key='location', value='weights.bin')
    refused(model(graph(made)), 'refers to another file')


def test_a_name_of_control_characters_is_escaped():
    refused(model(graph(external('\n\x1b[31mFATAL'))), r"tensor '\\n\\x1b\[31mFATAL' refers")


@pytest.mark.parametrize(
    ('made', 'what'),
    [
        (model(graph(nodes=[node_with(body=graph())])), 'control flow'),
        (model(graph(nodes=[node_with(branches=[graph(external())])])), 'control flow'),
        (model(functions=[function()]), 'functions'),
        (model(functions=[function(node_with(value=external()))]), 'functions'),
        (model(graph(nodes=[node_with(value=sparse())])), 'sparse tensors'),
        (model(graph(nodes=[node_with(value=sparse(external()))])), 'sparse tensors'),
        (model(graph(nodes=[node_with(values=[sparse()])])), 'sparse tensors'),
    ],
)
def test_unsupported_onnx_features_are_refused(made, what):
    refused(made, f'a plain feed-forward ONNX network, got one with {what}')


def test_sparse_initializers_are_refused():
    made = model()
    made.graph.sparse_initializer.append(sparse())
    refused(made, 'sparse tensors')


def test_training_graphs_are_refused():
    made = model()
    made.training_info.add().algorithm.initializer.append(external())
    refused(made, 'a training graph')


@pytest.mark.parametrize(
    'dims', [[1 << 40], [1 << 20, 1 << 20], [-1], [(1 << 63) - 1] * 3], ids=str
)
def test_tensors_that_declare_more_than_the_file_holds_are_refused(dims):
    made = TensorProto(name='w', data_type=FLOAT, dims=dims, raw_data=b'\0' * 64)
    refused(model(graph(made)), 'expected tensors of at most .* the network declares')


def test_many_tensors_that_declare_too_much_together_are_refused():
    made = TensorProto(name='w', data_type=TensorProto.INT64, dims=[1000], int64_data=[0] * 1000)
    check_onnx(model(graph(*[made] * 100)).SerializeToString())
    refused(model(graph(*[made] * 1000)), 'the network declares 8000000')


def test_dims_are_read_packed_and_unpacked():
    packed = b'\x0a\x02\x80\x10' + b'\x10\x01'  # [2048] float
    unpacked = b'\x08\x80\x10' * 2 + b'\x10\x0b'  # [2048, 2048] double
    for content, declared in ((packed, 2048 * 4), (unpacked, 2048 * 2048 * 8)):
        assert TensorProto.FromString(content).dims
        made = b'\x2a' + bytes([len(content)]) + content  # initializer
        refused(field(7, made * (1 + (2 << 20) // declared)), 'declares')


def varint(number):
    made = b''
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def test_an_integer_domain_is_not_read_as_a_length():
    # bytes(2 ** 62) would ask for as much memory.
    refused(field(8, b'\x08' + varint(1 << 62) + b'\x10\x12'), 'unknown field 1 of wire type 0')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'\x08', 'index'),
        (b'\x3a\x05\0', 'cut short'),
        (b'\x0d\0', 'unknown field 1 of wire type 5'),
        (b'\x3a\x03\x0a\x02\x2a', 'cut short'),
        (b'\x0b', 'wire type 3'),
        (field(7, b'') * 2, 'two graphs'),
        (b'\0' * 1000, 'unknown field 0'),
        (b'\x08' + b'\xff' * 11, 'more than 10 bytes'),
        (b'not ONNX', 'wire type|cut short'),
        (b'\x08\x08' * MAX_FIELDS + b'\x08\x08', 'more than 200000 fields'),
        (field(7, field(1, field(5, field(5, b'') * 2))), 'an attribute has two values'),
        (model(graph(TensorProto(dims=[1] * 65))).SerializeToString(), '65 dimensions'),
    ],
)
def test_damaged_files_are_refused(content, reason):
    refused(content, f'not an ONNX network, or damaged: .*{reason}')


# Field numbers, as a parser reads them.


@pytest.mark.parametrize(
    'key',
    [
        b'\xba\x80\x80\x80\x10',  # 7 to a parser, which reads 32 bits; 536870919 to others
        b'\xba\x80\x80\x80\x80\x00',
        b'\xba\x80\x80\x80\x80\x80\x80\x80\x80\x01',
        b'\xba\x00',
    ],
    ids=bytes.hex,
)
def test_field_numbers_of_other_lengths_are_refused(key):
    content = graph(external(location='w.bin')).SerializeToString()
    made = key + varint(len(content)) + content
    with suppress(DecodeError):
        assert onnx.ModelProto.FromString(made).graph.initializer or key[-1] == 1
    refused(made, 'a field number is longer than it should be')


def dimension(content):
    """Make a model whose only declared shape has one dimension."""
    info = field(1, b'a') + field(2, field(1, b'\x08\x01' + field(2, field(1, content))))
    return field(7, field(13, info))


@pytest.mark.parametrize(
    'made',
    [
        field(30, b''),
        field(7, field(30, b'')),
        field(7, field(1, field(30, b''))),
        field(7, field(1, field(5, field(30, b'')))),
        field(7, field(5, field(30, b''))),
        field(7, field(13, field(30, b''))),
        field(7, field(13, field(2, field(30, b'')))),
        dimension(field(30, b'')),
        field(8, field(30, b'')),
    ],
    ids=bytes.hex,
)
def test_unknown_fields_of_every_message_are_refused(made):
    onnx.ModelProto.FromString(made)
    refused(made, 'unknown field 30')


# What operators make.


def network(nodes, *initializers, shapes=None, opset=18, given=()):
    """Make a network whose tensors have shapes."""
    made = graph(*initializers, nodes=nodes)
    for name, sides in (shapes or {}).items():
        made.value_info.append(helper.make_tensor_value_info(name, FLOAT, sides))
    made.input.extend(helper.make_tensor_value_info(name, FLOAT, [1]) for name in given)
    return model(made, opset_imports=[helper.make_opsetid('', opset)])


RELU = helper.make_node('Relu', ['a'], ['b'])


def test_operators_of_detectors_pass():
    made = network([RELU], shapes={'b': [2, 3]})
    assert check_onnx(made.SerializeToString()) == OnnxVersions(8, 18)


@pytest.mark.parametrize(
    'operator', ['ConstantOfShape', 'NonZero', 'Tile', 'Range', 'OneHot', 'Upsample', 'Loop', '']
)
def test_other_operators_are_refused_by_name(operator):
    made = network([helper.make_node(operator, ['a'], ['b'])], shapes={'b': [1]})
    hint = r'supported are Add, .*, Unsqueeze; export the network with mnssd'
    refused(made, f"op type '{operator}' is not supported in a bundle; {hint}")


def test_operators_of_other_domains_are_refused():
    node = helper.make_node('Relu', ['a'], ['b'], domain='com.example')
    refused(network([node], shapes={'b': [1]}), "operators of 'com.example'")


@pytest.mark.parametrize('sides', [None, [None], ['long name!'], [1, 'height']])
def test_tensors_without_a_shape_are_refused(sides):
    shapes = {} if sides is None else {'b': sides}
    refused(network([RELU], shapes=shapes), "the shapes of all tensors .*, 'b' has none; export")


@pytest.mark.parametrize('name', ['b', 'batch', 'batchsize'])
def test_name_of_the_leading_dimension_becomes_a_number(name):
    made = network([RELU], shapes={'b': [name, 3]})
    made.graph.output.append(helper.make_tensor_value_info('b', FLOAT, [name, 3]))
    content = made.SerializeToString()
    fixed = check_onnx(content).fixed
    for value in (made.graph.value_info[0], made.graph.output[0]):
        dim = value.type.tensor_type.shape.dim[0]
        dim.ClearField('dim_param')
        dim.dim_value = MAX_BATCH
    assert onnx.load_from_string(fixed) == made
    assert content != fixed


def test_networks_without_a_batch_are_not_copied():
    assert check_onnx(network([RELU], shapes={'b': [2]}).SerializeToString()).fixed is None


def test_batch_counts_with_its_maximum():
    limit = (1 << 30) // MAX_BATCH
    check_onnx(network([RELU], shapes={'b': ['batch', limit]}).SerializeToString())
    made = network([RELU], shapes={'b': ['batch', limit + 1]})
    refused(made, 'operators that make at most 1073741824 values')


@pytest.mark.parametrize(
    'shapes',
    [
        {'b': [2, 'batch']},
        {'b': ['batch', 'batch']},
        {'a': ['batch'], 'b': ['other']},
        {'b': ['']},
        {'b': ['ten_letter']},
    ],
)
def test_other_names_in_shapes_are_refused(shapes):
    refused(network([RELU], shapes=shapes), "'b' has none")


def test_dimension_with_a_name_and_a_number_is_refused():
    made = network([RELU], shapes={'b': ['batch']}).SerializeToString()
    name = b'\x12\x05batch'
    assert name in made
    for extra in (b'\x12\x03' + b'abc', b'\x1a\x03abc', b'\x08\x81\x80\x80\x00'):
        both = made.replace(b'\x0a\x07' + name, b'\x0a\x07' + b'\x12\x00' + extra)
        refused(both, "'b' has none")


def test_two_shapes_of_one_tensor_are_refused():
    made = network([RELU], shapes={'b': [1]})
    made.graph.output.append(helper.make_tensor_value_info('b', FLOAT, [2]))
    refused(made, "'b' has two shapes")


def test_a_shape_that_a_parser_would_merge_is_no_shape():
    made = network([RELU], shapes={'b': [1]})
    shape = made.graph.value_info[0].type.tensor_type.shape
    merged = made.SerializeToString()
    shape.dim[0].ClearField('dim_value')
    shape.dim[0].dim_param = 'n'
    assert len(shape.dim) == 1
    both = field(1, b'\x08\x01' + field(2, b'n'))  # the later one counts
    info = field(1, b'b') + field(2, field(1, b'\x08\x01' + field(2, both)))
    rest = made.graph
    del rest.value_info[:]
    content = rest.SerializeToString() + field(13, info)
    opset = field(8, b'\x10\x12')
    refused(opset + field(7, content), "'b' has none")
    check_onnx(merged)


@pytest.mark.parametrize('sides', [[1 << 40], [1 << 15, 1 << 16], [-1]], ids=str)
def test_operators_that_make_too_much_are_refused(sides):
    refused(network([RELU], shapes={'b': sides}), 'operators that make at most 1073741824 values')


def test_shapes_must_be_constant():
    node = helper.make_node('Reshape', ['a', 'shape'], ['b'])
    shape = helper.make_tensor('shape', TensorProto.INT64, [1], [6])
    words = "expected constant shapes, an operator 'Reshape'"
    check_onnx(network([node], shape, shapes={'b': [6]}).SerializeToString())
    constant = helper.make_node('Constant', [], ['shape'], value=shape)
    check_onnx(network([constant, node], shapes={'b': [6]}).SerializeToString())
    refused(network([node], shapes={'b': [6]}), words)
    refused(network([node], shape, shapes={'b': [6]}, given=['shape']), words)
    computed = helper.make_node('Relu', ['a'], ['shape'])
    refused(network([computed, node], shapes={'b': [6], 'shape': [1]}), words)


def test_old_operators_whose_shapes_cannot_be_inferred_are_refused():
    check_onnx(network([RELU], shapes={'b': [1]}, opset=13).SerializeToString())
    refused(network([RELU], shapes={'b': [1]}, opset=12), 'opset 13 or later, got 12')
    made = network([RELU], shapes={'b': [1]})
    made.opset_import.add(version=1)
    refused(made, 'got 1')


# The same as the onnx package sees it.


def is_external(message):
    """Look for external data anywhere in a message."""
    if isinstance(message, TensorProto):
        return message.data_location == TensorProto.EXTERNAL or bool(message.external_data)
    found = False
    for field, value in message.ListFields():
        if field.message_type is not None:
            items = value if hasattr(value, '__len__') else [value]
            found |= any(is_external(item) for item in items)
    return found


MODELS = [
    made.SerializeToString()
    for made in (
        model(graph(tensor(), external('b'))),
        model(graph(tensor(), nodes=[node_with(value=external(), i=3), node_with(v=[tensor()])])),
        model(graph(nodes=[node_with(body=graph(external()))]), functions=[function()]),
        model(graph(nodes=[node_with(value=sparse(external()))])),
    )
]


@settings(max_examples=1500, deadline=None)
@given(
    made=st.sampled_from(MODELS),
    changes=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=4),
    pieces=st.lists(st.binary(max_size=12), max_size=2),
)
def test_whatever_onnx_parses_as_external_is_refused(made, changes, pieces):
    content = bytearray(made)
    for place, value in changes:
        content[place % len(content)] = value
    content += b''.join(pieces)
    try:
        parsed = onnx.ModelProto.FromString(bytes(content))
    except DecodeError:
        parsed = onnx.ModelProto()
    if is_external(parsed):
        with pytest.raises(EngineError):
            check_onnx(bytes(content))
    else:
        with suppress(EngineError):  # nothing but a refusal in words may come of it
            check_onnx(bytes(content))


@settings(max_examples=300, deadline=None)
@given(arrays=st.lists(st.tuples(st.integers(0, 40), st.sampled_from('fdbhilBHILe')), max_size=6))
def test_plain_models_pass(arrays):
    tensors = [
        numpy_helper.from_array(np.zeros(size, kind), f'{index}')
        for index, (size, kind) in enumerate(arrays)
    ]
    constants = [helper.make_node('Constant', [], [each.name], value=each) for each in tensors]
    made = model(graph(*tensors, nodes=constants), opset_imports=[helper.make_opsetid('', 18)])
    assert check_onnx(made.SerializeToString()) == OnnxVersions(8, 18)


BATCH_MODEL = network(
    [RELU, helper.make_node('Relu', ['b'], ['c'])],
    shapes={'b': ['batch', 3], 'c': ['batch', 3]},
).SerializeToString()


@settings(max_examples=1000, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(BATCH_MODEL) - 1), st.integers(0, 255)), max_size=3
    )
)
def test_copy_with_a_fixed_batch_differs_in_nothing_else(changes):
    content = bytearray(BATCH_MODEL)
    for place, value in changes:
        content[place] = value
    try:
        fixed = check_onnx(bytes(content)).fixed
        expected = onnx.ModelProto.FromString(bytes(content))
    except (EngineError, DecodeError):
        return
    values = (*expected.graph.input, *expected.graph.output, *expected.graph.value_info)
    leading = [dim for value in values for dim in value.type.tensor_type.shape.dim[:1]]
    names = [dim.dim_param for dim in leading if dim.dim_param]
    for dim in leading:
        if dim.dim_param in names[:1]:  # values that no operator makes may have others
            dim.dim_value = MAX_BATCH
    assert onnx.ModelProto.FromString(fixed or bytes(content)) == expected
