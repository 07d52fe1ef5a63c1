"""Plots as images that need no other file."""

from base64 import b64decode
from xml.etree import ElementTree

from mnssd_training.plots import Bars, HeatMap, Line, line_style, Lines, Plot, plot_data_uri
import pytest

PREFIX = 'data:image/svg+xml;base64,'


def svg(*plots: Plot) -> ElementTree.Element:
    """Draw and read the image."""
    uri = plot_data_uri(plots)
    assert uri.startswith(PREFIX)
    return ElementTree.fromstring(b64decode(uri.removeprefix(PREFIX)))


@pytest.mark.parametrize(
    'plot',
    [
        Lines('nothing', 'x', 'y', []),
        Lines('no values', 'x', 'y', [Line([], [])], None, None),
        Bars('nothing', 'x', 'y', [], []),
        Bars('nothing between two edges', 'x', 'y', [], ['1']),
        HeatMap('nothing', [[0]]),
    ],
    ids=lambda plot: plot.title,
)
def test_nothing_is_drawn(plot: Plot) -> None:
    assert svg(plot).tag == '{http://www.w3.org/2000/svg}svg'


@pytest.mark.parametrize('name', ['$', '$x', '\\frac{', '<b>&', '人', ''])
def test_a_name_is_neither_mathematics_nor_markup(name: str) -> None:
    values = [0.0, float('nan'), 1.0]
    lines = Lines(name, name, name, [Line(values, values, name, mark=(0.5, 0.5))], is_step=True)
    svg(lines, Bars(name, name, name, [1, 2], [name, name]))


def test_the_image_refers_to_nothing_outside() -> None:
    root = svg(Lines('a', 'x', 'y', [Line([0, 1], [0, 1], 'a')]), HeatMap('b', [[1, 2], [3, 4]]))
    links = [
        value
        for element in root.iter()
        for key, value in element.attrib.items()
        if key.rpartition('}')[2] == 'href'
    ]
    assert links
    assert all(link.startswith(('#', 'data:')) for link in links)


def test_equal_plots_are_equal_images() -> None:
    bars = Bars('a', 'x', 'y', [1, 2, 3], ['1', '2', '4', '8'])
    assert plot_data_uri([bars]) == plot_data_uri([bars])


def test_lines_are_told_apart() -> None:
    assert len({line_style(number) for number in range(24)}) == 24
