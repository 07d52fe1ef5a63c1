"""The drawing of a report."""

from dataclasses import replace
from xml.etree import ElementTree

from mnssd_perception.benchmark import plot_report, Report

SVG = '{http://www.w3.org/2000/svg}'


def test_a_report_without_runs(report: Report) -> None:
    ElementTree.fromstring(plot_report(replace(report, runs=())))


def test_bars_are_as_long_as_the_medians(report: Report) -> None:
    root = ElementTree.fromstring(plot_report(report))
    bars = [item for item in root.iter(f'{SVG}rect') if item.get('height') == '20']
    slow, fast = (float(bar.get('width', '')) for bar in bars[1::3])
    assert abs(slow / fast - 10.5 / 4.75) < 0.01
    assert len(list(root.iter(f'{SVG}polyline'))) == 2


def test_names_are_escaped(report: Report) -> None:
    text = plot_report(replace(report, images='<script>&'))
    assert '&lt;script&gt;&amp;' in text
    ElementTree.fromstring(text)
