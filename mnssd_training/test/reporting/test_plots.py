"""Charts as SVG that needs no other file, and as images."""

from base64 import b64decode
from typing import Any
from xml.etree import ElementTree

from mnssd_training.reporting import plots
import numpy as np
import pytest

LOG: Any = ('log', 'linear')
PREFIX = 'data:image/svg+xml;base64,'


def svg(*charts: plots.Chart) -> ElementTree.Element:
    """Draw and read the image."""
    uri = plots.svg_data_uri(charts)
    assert uri.startswith(PREFIX)
    return ElementTree.fromstring(b64decode(uri.removeprefix(PREFIX)))


@pytest.mark.parametrize(
    'chart',
    [
        plots.line_chart('no lines', 'x', 'y', []),
        plots.line_chart('no values', 'x', 'y', [plots.Line([], [])], x_range=None, y_range=None),
        plots.bar_chart('no bars', 'x', 'y', [], []),
        plots.bar_chart('no bar between two edges', 'x', 'y', [], ['1']),
        plots.heat_map('no counts', [[0]]),
    ],
)
def test_empty_charts(chart: plots.Chart) -> None:
    assert svg(chart).tag == '{http://www.w3.org/2000/svg}svg'


@pytest.mark.parametrize('name', ['$', '$x', '\\frac{', '<b>&', '人', ''])
def test_names_are_neither_mathematics_nor_markup(name: str) -> None:
    values = [0.0, float('nan'), 1.0]
    line = plots.Line(values, values, name, highlight=(0.5, 0.5))
    svg(plots.line_chart(name, name, name, [line], is_step=True))
    svg(plots.bar_chart(name, name, name, [1, 2], [name, name]))


def test_the_svg_refers_to_nothing_outside() -> None:
    root = svg(
        plots.line_chart('a', 'x', 'y', [plots.Line([0, 1], [0, 1], 'a')]),
        plots.heat_map('b', [[1, 2], [3, 4]]),
    )
    links = [
        value
        for element in root.iter()
        for key, value in element.attrib.items()
        if key.rpartition('}')[2] == 'href'
    ]
    assert links
    assert all(link.startswith(('#', 'data:')) for link in links)


def test_equal_charts_are_equal_files() -> None:
    bars = plots.bar_chart('a', 'x', 'y', [1, 2, 3], ['1', '2', '4', '8'])
    assert plots.svg_data_uri([bars]) == plots.svg_data_uri([bars])


def test_logarithmic_axes_are_labelled_with_plain_numbers() -> None:
    import matplotlib.figure

    for high, expected in ((90.0, ['1', '2', '5', '10', '20', '50']), (1e6, ['1', '10', '100'])):
        axes = matplotlib.figure.Figure().subplots()
        line = plots.Line([1.0, high], [1.0, 2.0])
        plots.line_chart('a', 'x', 'y', [line], x_range=None, scales=LOG)(axes)
        labels = [text.get_text() for text in axes.get_xticklabels()]
        assert [label for label in labels if label in expected] == expected
        assert not any('$' in label for label in labels)


def test_line_styles_differ() -> None:
    assert len({plots.line_style(number) for number in range(24)}) == 24


def test_a_chart_becomes_an_image_of_the_given_size() -> None:
    line = plots.Line([1e-6, 1e-3, 1.0], [3.0, 2.0, 4.0], colour='#ff0000', highlight=(1e-3, 2.0))
    chart = plots.line_chart('a', 'x', 'y', [line], x_range=None, y_range=None, scales=LOG)
    image = plots.chart_image(chart, 300, 200)
    assert (image.shape, image.dtype) == ((200, 300, 3), np.uint8)
    assert (image == (255, 0, 0)).all(axis=2).sum() > 20
    assert tuple(image[0, 0]) == (255, 255, 255)
