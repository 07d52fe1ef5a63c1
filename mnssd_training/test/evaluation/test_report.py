"""Reports: plain data, tables, curves and the page."""

from collections.abc import Callable
import json
from typing import Any
from xml.etree import ElementTree

from mnssd_perception.detector import StageTimings
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation.curves import curves
from mnssd_training.evaluation.page import draw_failures, report_page
from mnssd_training.evaluation.report import make_report
from mnssd_training.evaluation.speed import measure_speed
from mnssd_training.evaluation.svg import Curve, draw_curves, style
from mnssd_training.evaluation.text import report_text
import numpy as np
import pytest

Make = Callable[..., Any]
Scored = tuple[list[Sample], list[Detections]]
NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
A, B = (0, 0, 100, 100), (300, 300, 400, 400)


def test_a_report_of_nothing(make_sample: Make, found: Make) -> None:
    report, failures = make_report([make_sample()], [found()], NAMES, score_threshold=0.35)
    assert failures == []
    assert report['curves'] == {}
    assert report['scores']['coco']['ap'] is None
    text = report_text(report)
    assert 'Person' in text
    assert 'None' not in text
    page = report_page(report, 'nothing', {})
    assert 'None' not in page
    assert '-' in page


def test_a_report_of_real_detections(real: Scored) -> None:
    report, failures = make_report(*real, NAMES, score_threshold=0.35, ious=(0.5, 0.75))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report['scores']['voc']) == ['0.5', '0.75']
    assert len(failures) == len(report['failures']) > 3
    pictures = draw_failures(*real, failures)
    assert len(pictures) == len(failures)
    page = report_page(report, 'real', {'model': 'shipped'}, pictures)
    assert page.count('<figure>') == len(failures)
    for failure in report['failures']:
        assert failure['image'] in page


def test_names_are_escaped(make_sample: Make, found: Make) -> None:
    evil = '<script>alert("1")</script>'
    sample = make_sample([A], [0], name=evil)
    report, failures = make_report([sample], [found([B], [0.9])], [evil], score_threshold=0.5)
    blank = [np.zeros((8, 8, 3), np.uint8)] * len(failures)
    page = report_page(report, evil, {evil: evil}, blank)
    assert len(failures) == 2
    assert '<script' not in page
    assert page.count('&lt;script&gt;') > 5


# --- curves ----------------------------------------------------------------------------------


def test_the_best_threshold(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B], [0, 0])
    wild = [(500, 0, 540, 40), (500, 100, 540, 140)]
    curve = curves([sample], [found([A, B, *wild], [0.9, 0.6, 0.4, 0.2])], ['a', 'b'])
    assert list(curve) == ['a']  # there is no object of the other
    best = curve['a']['best']
    assert best == {'f1': 1.0, 'score': pytest.approx(0.6), 'precision': 1.0, 'recall': 1.0}
    assert curve['a']['precision'] == pytest.approx([1, 1, 2 / 3, 0.5], abs=1e-5)
    assert curves([sample], [found(wild, [0.9, 0.8])], ['a'])['a']['best'] is None
    assert curves([sample], [found()], ['a'])['a']['recall'] == []


def test_long_curves_are_thinned_out(make_sample: Make, found: Make) -> None:
    scores = np.linspace(0.9, 0.1, 1000)
    boxes = [(i, 0, i + 5, 5) for i in range(1000)]
    curve = curves([make_sample([A], [0])], [found(boxes, scores)], ['a'])['a']
    assert len(curve['recall']) == len(curve['score']) == 200
    assert (curve['score'][0], curve['score'][-1]) == pytest.approx((0.9, 0.1))


def test_a_drawing_is_xml_and_inside_its_frame() -> None:
    some = [
        Curve('a & <b>', [0, 0.5, 1], [1, 0.5, 0], (0.5, 0.5)),
        Curve('empty', [], []),
        *(Curve(str(i), [0.2], [0.3]) for i in range(9)),
    ]
    root = ElementTree.fromstring(draw_curves(some, 'recall', 'precision'))
    _, _, width, height = map(float, root.attrib['viewBox'].split())
    lines = root.findall('polyline')
    assert len(lines) == len(some)
    for line in lines:
        for point in line.attrib['points'].split():
            x, y = map(float, point.split(','))
            assert 0 <= x <= width
            assert 0 <= y <= height
    assert lines[0].findtext('title') == 'a & <b>'
    assert len({style(i) for i in range(20)}) == 20


# --- speed -----------------------------------------------------------------------------------


def test_speed(train_samples: list[Sample]) -> None:
    calls: list[tuple[int, ...]] = []

    def detect(image: np.ndarray) -> tuple[Detections, StageTimings]:
        calls.append(image.shape)
        return Detections.empty(), StageTimings(0.001, 0.001 * len(calls), 0.002)

    assert measure_speed(detect, [], 'nothing') is None
    speed = measure_speed(detect, train_samples, 'an abacus', num=3)
    assert speed is not None
    assert (speed['engine_on'], speed['num_images'], len(calls)) == ('an abacus', 3, 6)
    assert speed['stages']['preprocess'] == {'mean': 1.0, 'p50': 1.0, 'p95': 1.0}
    assert speed['stages']['engine']['p50'] == pytest.approx(5.0)  # not the warm-up
    assert speed['stages']['total']['mean'] == pytest.approx(8.0)
