"""Tests of declared, validated parameters."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from dataclasses import dataclass
import re

from mnssd_perception.errors import MnssdError, SettingsError
import pytest

rclpy = pytest.importorskip('rclpy')

from mnssd_perception.ros.parameters import parameter, Parameters
from rclpy.node import Node
from rclpy.parameter import Parameter

pytestmark = pytest.mark.ros

DOMAIN = 61


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True)
class Values:
    """One parameter of each kind."""

    switch: bool = parameter(False, 'a switch', is_dynamic=True)
    number: int = parameter(3, 'a number', minimum=1, maximum=9, is_dynamic=True)
    share: float = parameter(0.5, 'a share', minimum=0.0, maximum=1.0, is_dynamic=True)
    free: float = parameter(1.0, 'any number', is_dynamic=True)
    word: str = parameter('red', 'a colour', choices=('red', 'green'), is_dynamic=True)
    names: tuple[str, ...] = parameter((), 'some names', is_dynamic=True)
    fixed: str = parameter('rock', 'stays')


@dataclass(frozen=True)
class Named:
    """A list that is not empty unless set."""

    names: tuple[str, ...] = parameter(('x',), 'some names', is_dynamic=True)


@pytest.fixture(scope='module')
def context():
    made = rclpy.Context()
    rclpy.init(args=[], context=made, domain_id=DOMAIN)
    yield made
    rclpy.shutdown(context=made)


@pytest.fixture
def make(context):
    """Make a node that was started with some parameters."""
    nodes = []

    def make(**given):
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(Node('tested', context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def change(node, **values):
    return node.set_parameters_atomically(
        [Parameter(name, value=value) for name, value in values.items()]
    )


def test_dataclass_without_fields_declares_nothing(make):
    assert Parameters(make(), Nothing).values == Nothing()


def test_defaults_and_descriptors_are_declared(make):
    node = make()
    assert Parameters(node, Values).values == Values()
    assert node.get_parameter('share').value == 0.5
    assert node.describe_parameter('share').description == 'a share'
    assert node.describe_parameter('share').floating_point_range[0].to_value == 1.0
    assert node.describe_parameter('number').integer_range[0].from_value == 1
    assert node.describe_parameter('word').additional_constraints == 'red, green'
    assert node.describe_parameter('fixed').read_only


def test_values_given_at_startup_are_used(make):
    given = {
        'switch': True, 'number': 9, 'share': 1.0, 'free': -7.5, 'word': 'green',
        'names': ['a', 'b'], 'fixed': 'sand',
    }  # fmt: skip
    values = Parameters(make(**given), Values).values
    assert values == Values(True, 9, 1.0, -7.5, 'green', ('a', 'b'), 'sand')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('switch', 1), ('switch', 'true'), ('number', 0), ('number', 10), ('number', 3.0),
        ('share', 1), ('share', -0.1), ('share', 1.1), ('share', float('nan')),
        ('free', float('inf')), ('free', 'much'), ('word', 'blue'), ('word', 7),
        ('names', 'a'), ('names', [1, 2]), ('names', 3),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_at_startup_and_later(make, name, value):
    with pytest.raises(SettingsError, match=name):
        Parameters(make(**{name: value}), Values)
    node = make()
    parameters = Parameters(node, Values)
    result = change(node, **{name: value})
    assert not result.successful
    assert result.reason
    assert parameters.values == Values()
    assert change(node, number=4).successful
    assert parameters.values == Values(number=4)


def test_changes_are_applied_once_and_atomically(make):
    node, applied = make(), []
    parameters = Parameters(node, Values, apply=applied.append)
    assert change(node, share=0.25, names=['x', '', 'y']).successful
    assert applied == [Values(share=0.25, names=('x', 'y'))]
    assert parameters.values is applied[0]
    assert change(node, share=0.25).successful
    assert len(applied) == 1
    assert not change(node, share=0.75, number=100).successful
    assert parameters.values is applied[0]


@pytest.fixture
def make_from_file(tmp_path):
    """Make a node that was started with a parameter file."""
    context = rclpy.Context()

    def make(text):
        (tmp_path / 'some.param.yaml').write_text(text)
        arguments = ['--ros-args', '--params-file', str(tmp_path / 'some.param.yaml')]
        rclpy.init(args=arguments, context=context, domain_id=DOMAIN)
        return Node('tested', context=context)

    yield make
    rclpy.shutdown(context=context)


@pytest.mark.parametrize('empty', ['[]', "['']"])
def test_empty_list_in_a_parameter_file(make_from_file, empty):
    node = make_from_file(f'/**:\n  ros__parameters:\n    names: {empty}\n')
    parameters = Parameters(node, Named)
    assert parameters.values.names == ()
    assert node.get_parameter('names').value == ['']
    assert change(node, names=['a']).successful
    assert parameters.values.names == ('a',)
    node.destroy_node()


@pytest.mark.parametrize('empty', [[''], []])
def test_empty_list_can_be_set(make, empty):
    node = make(names=['a'])
    parameters = Parameters(node, Values)
    assert change(node, names=empty).successful
    assert parameters.values.names == ()
    assert change(node, names=['b']).successful
    assert parameters.values.names == ('b',)


def test_read_only_parameter_cannot_be_set(make):
    node = make()
    parameters = Parameters(node, Values)
    result = change(node, fixed='sand')
    assert not result.successful
    assert 'read-only' in result.reason
    assert parameters.values.fixed == 'rock'


def test_other_parameters_are_ignored(make):
    node = make()
    parameters = Parameters(node, Values)
    node.declare_parameter('other', 1)
    assert change(node, other=2).successful
    assert parameters.values == Values()


def no_seven(values):
    if values.number == 7:
        raise MnssdError('expected any number but 7')


def test_check_sees_all_values(make):
    with pytest.raises(MnssdError):
        Parameters(make(number=7), Values, check=no_seven)
    node, applied = make(), []
    Parameters(node, Values, check=no_seven, apply=applied.append)
    result = change(node, number=7)
    assert (result.successful, result.reason) == (False, 'expected any number but 7')
    assert not applied
    assert node.get_parameter('number').value == 3


def test_replaced_check_applies_to_current_and_later_values(make):
    node = make(number=7)
    parameters = Parameters(node, Values)
    with pytest.raises(MnssdError):
        parameters.replace_check(no_seven)
    assert change(node, number=6).successful
    parameters.replace_check(no_seven)
    assert not change(node, number=7).successful


# Unknown names.


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('shar', "did you mean 'share'?"),
        ('numbre', "did you mean 'number'?"),
        ('spede', "did you mean 'speed'?"),
        ('altitude', 'available: fixed, free, names, number, share, speed, switch, word'),
    ],
)
def test_unknown_name_is_refused_with_a_suggestion(make, name, hint):
    with pytest.raises(SettingsError, match=f"unknown parameter '{name}'; {re.escape(hint)}"):
        Parameters(make(**{name: 1.0}), Values, known_names=['speed'])


def test_unknown_name_in_a_parameter_file_is_refused(make_from_file):
    node = make_from_file('/**:\n  ros__parameters:\n    sharre: 0.5\n')
    with pytest.raises(SettingsError, match="did you mean 'share'"):
        Parameters(node, Values)
    node.destroy_node()


def test_names_of_other_nodes_and_of_ros_are_ignored(make):
    others = {'qos_overrides./image.subscription.depth': 3, 'use_sim_time': True, 'speed': 2.0}
    assert Parameters(make(**others), Values, known_names=['speed']).values == Values()


# Defaults that are set later.


def test_set_defaults_without_values_changes_nothing(make):
    parameters = Parameters(make(), Values)
    parameters.set_defaults()
    assert parameters.values == Values()


def test_defaults_replace_values_that_no_user_has_set(make):
    node, applied = make(number=3, word='green'), []
    parameters = Parameters(node, Values, apply=applied.append)
    assert change(node, free=2.0).successful
    parameters.set_defaults(share=0.25, number=8, word='red', free=5.0)
    # The number was set to what is the default anyway, and stays.
    assert parameters.values == Values(share=0.25, number=3, word='green', free=2.0)
    assert applied[-1] == parameters.values
    assert node.get_parameter('share').value == 0.25
    assert node.get_parameter('number').value == 3


def test_defaults_may_change_until_a_user_sets_the_parameter(make):
    node = make()
    parameters = Parameters(node, Values)
    parameters.set_defaults(share=0.25)
    parameters.set_defaults(share=0.75)
    assert parameters.values.share == 0.75
    assert change(node, share=0.75).successful
    parameters.set_defaults(share=0.1)
    assert parameters.values.share == 0.75
    assert node.get_parameter('share').value == 0.75


def test_refused_change_leaves_a_parameter_unset(make):
    node = make()
    parameters = Parameters(node, Values)
    assert not change(node, share=7.0).successful
    parameters.set_defaults(share=0.25)
    assert parameters.values.share == 0.25


def test_invalid_default_is_refused(make):
    parameters = Parameters(make(), Values, check=no_seven)
    with pytest.raises(SettingsError, match='any number but 7'):
        parameters.set_defaults(number=7, share=0.25)
    assert parameters.values == Values()
