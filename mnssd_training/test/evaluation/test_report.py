"""Reports of an evaluation: JSON, tables, curves and the page."""

from collections.abc import Callable
import json
from types import SimpleNamespace
from typing import Any

from mnssd_perception.detector import StageTimings
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation.curves import (
    ClassBestF1,
    ClassCurves,
    compute_curves,
    precision_recall_envelope,
)
from mnssd_training.evaluation.detect import Duration, measure_speed
from mnssd_training.evaluation.page import _history_charts, report_page
from mnssd_training.evaluation.report import (
    choose_differing_images,
    make_report,
    report_to_json,
)
from mnssd_training.evaluation.text import report_text
from mnssd_training.evaluation.voc_ap import average_precision, voc_ap
from mnssd_training.metrics_file import EpochMetrics
import numpy as np
import pytest

Make = Callable[..., Any]
Scored = tuple[list[Sample], list[Detections]]
NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
A, B = (0, 0, 100, 100), (300, 300, 400, 400)


@pytest.fixture(autouse=True)
def blank_images(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Give made-up samples an image; those of the dataset have theirs."""
    if 'real' not in request.fixturenames and 'train_samples' not in request.fixturenames:
        monkeypatch.setattr(
            'mnssd_training.evaluation.page.load_image',
            lambda sample: np.zeros((*sample.size, 3), np.uint8),
        )


def test_a_report_without_detections(make_sample: Make, found: Make) -> None:
    report = make_report([make_sample()], [found()], NAMES, score_threshold=0.35)
    assert (report.failures, report.worst_images) == ([], [])
    assert report.curves.classes == {}
    assert report.curves.mean.best is None
    assert report.scores.coco.ap is None
    text = report_text(report)
    assert 'Person' in text
    assert 'None' not in text
    page = report_page(report, 'nothing', {})
    assert '>None<' not in page
    assert '<td>-</td>' in page


def test_a_report_of_real_detections(real: Scored) -> None:
    report = make_report(*real, NAMES, score_threshold=0.35, ious=(0.5, 0.75))
    plain = report_to_json(report, {'model': 'shipped'})
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain['scores']['voc']) == ['0.5', '0.75']
    assert len(report.failures) == len(plain['failures']) > 3
    page = report_page(report, 'real', {'model': 'shipped'})
    assert page.count('<figure class="crop">') == len(report.failures)
    assert page.count('<figure class="image">') == len(report.worst_images) > 1
    for row in (*plain['failures'], *plain['images']):
        assert row['image'] in page


def test_json_keeps_the_keys_of_former_versions(make_sample: Make, found: Make) -> None:
    report = make_report(
        [make_sample([A, B], [0, 0])], [found([A], [0.9])], ['a'], score_threshold=0.5
    )
    plain = report_to_json(report, {}, report)
    assert list(plain) == [
        'model', 'measured_on', 'scores', 'curves', 'confusion', 'images', 'failures', 'speed',
        'compared_with',
    ]  # fmt: skip
    assert set(plain) - set(plain['compared_with']) == {'measured_on', 'compared_with'}
    curves = plain['curves']['classes']['a']
    assert list(curves) == ['recall', 'precision', 'by_confidence', 'best']
    assert list(curves['best']) == ['f1', 'score', 'precision', 'recall']
    assert list(plain['curves']['mean']['best']) == ['f1', 'score']
    assert plain['failures'] == [
        {
            'kind': 'missed',
            'image': report.samples[0].name,
            'score': 0.0,
            'iou': 0.0,
            'annotated': 'a',
            'annotated_box': [300, 300, 400, 400],
        }
    ]


def test_names_are_escaped(make_sample: Make, found: Make) -> None:
    evil = '<script>alert("1")</script> $\frac{$'  # neither HTML nor mathematics
    sample = make_sample([A], [0], name=evil)
    report = make_report([sample], [found([B], [0.9])], [evil], score_threshold=0.5, model=evil)
    page = report_page(report, evil, {evil: evil, 'model': evil}, other=report)
    assert len(report.failures) == 2
    assert '<script' not in page
    assert page.count('&lt;script&gt;') > 5


def test_the_confusion_matrix_is_normalised_by_row(make_sample: Make, found: Make) -> None:
    samples, detections = [make_sample([A, B], [0, 0])], [found([A], [0.9], [1])]
    confusion = make_report(samples, detections, ['a', 'b'], score_threshold=0.5).confusion
    assert confusion.matrix == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert confusion.normalised == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]


def test_images_with_the_most_errors_are_chosen(make_sample: Make, found: Make) -> None:
    samples = [make_sample([A], [0], name='good'), make_sample([A, B], [0, 0], name='bad')]
    some, all_ = [found([A], [0.9]), found()], [found([A], [0.9]), found([A, B], [0.9, 0.9])]
    bad, good = (make_report(samples, one, ['a'], score_threshold=0.5) for one in (some, all_))
    assert bad.worst_images == [1]
    assert report_to_json(bad)['images'] == [
        {'image': 'bad', 'correct': 0, 'confused': 0, 'wrong': 0, 'missed': 2}
    ]
    assert good.worst_images == []
    assert choose_differing_images(bad, good) == [1, 0]


def test_two_models_are_compared(make_sample: Make, found: Make) -> None:
    samples = [make_sample([A, B], [0, 0])]
    bad, good = (
        make_report(samples, [detections], ['a'], score_threshold=0.5, model=model)
        for model, detections in (
            ('bad.pt', found([A], [0.9])),
            ('good.pt', found([A, B], [0.9, 0.9])),
        )
    )
    text = report_text(bad, good)
    assert text.splitlines()[-4].split()[:4] == ['a', '0.5000', '1.0000', '+0.5000']
    page = report_page(bad, 'two', {'model': 'bad.pt'}, other=good)
    assert '<td>+0.5000</td>' in page
    assert 'B: good.pt' in page


# --- curves ----------------------------------------------------------------------------------


def test_the_best_f1(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B], [0, 0])
    wild = [(500, 0, 540, 40), (500, 100, 540, 140)]

    def curve(boxes: list[tuple[int, ...]], scores: list[float]) -> ClassCurves:
        return compute_curves([sample], [found(boxes, scores)], ['a', 'b']).classes['a']

    one = curve([A, *wild, B], [0.9, 0.6, 0.4, 0.2])
    assert one.best == ClassBestF1(
        f1=pytest.approx(2 / 3), score=pytest.approx(0.9), precision=1.0, recall=0.5
    )
    assert (one.recall, one.precision) == ([0.5, 1.0], [1.0, 0.5])
    assert curve(wild, [0.9, 0.8]).best is None
    assert curve([], []).recall == []
    curves = compute_curves([sample], [found([A], [0.9])], ['a', 'b'])
    assert list(curves.classes) == ['a']  # there is no object of the other


def test_the_best_threshold_lies_between_scores_that_differ(
    make_sample: Make, found: Make
) -> None:
    """No threshold keeps the hits and drops the misses of one score."""
    sample = make_sample([A, B, (300, 0, 400, 100)], [0, 0, 0])
    wild = [(500, 0, 540, 40), (500, 100, 540, 140)]
    detections = found([A, B, (300, 0, 400, 100), *wild], [0.75, 0.5, 0.5, 0.5, 0.5])
    curves = compute_curves([sample], [detections], ['a'])
    one = curves.classes['a']
    assert one.best == ClassBestF1(
        f1=pytest.approx(0.75), score=0.5, precision=pytest.approx(0.6), recall=1.0
    )
    at = curves.confidence.index(0.5)
    assert one.by_confidence.f1[at] == pytest.approx(0.75)
    assert curves.mean.best is not None
    assert curves.mean.best.f1 == pytest.approx(0.75)


@pytest.mark.parametrize('seed', range(5))
def test_an_envelope_has_the_area_of_its_curve(crowded: Make, seed: int) -> None:
    samples, found = crowded(seed)
    result = voc_ap(samples, found, 3)[0]
    recall, precision = precision_recall_envelope(result.recall, result.precision)
    assert np.all(np.diff(recall) > 0)
    assert np.all(np.diff(precision) < 0)
    assert recall[-1] == result.recall[-1]
    assert average_precision(recall, precision, 'all') == pytest.approx(result.ap)


def test_an_envelope_keeps_its_steps_among_many_detections() -> None:
    """A curve that is sampled by detection has few points where precision is high."""
    hits = np.concatenate((np.tile([1, 1, 0], 100), np.zeros(20_000, int), np.ones(100, int)))
    recall = np.cumsum(hits) / 300
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    points = precision_recall_envelope(recall, precision)[0]
    assert (points < 0.66).sum() > 50
    assert np.diff(points).max() < 0.34


def test_an_envelope_has_a_point_in_each_thousandth_at_most() -> None:
    recall = np.arange(1, 50_001) / 50_000
    points, precision = precision_recall_envelope(recall, 1 - recall / 2)
    assert len(points) == 1000
    assert average_precision(points, precision, 'all') == pytest.approx(0.75, abs=1e-3)


def test_scores_over_the_confidence(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B], [0, 0])
    detections = found([A, (500, 0, 540, 40), B], [0.75, 0.5, 0.25])
    curves = compute_curves([sample], [detections], ['a'])
    at = {round(value, 2): index for index, value in enumerate(curves.confidence)}
    one = curves.classes['a'].by_confidence

    def scores(confidence: float) -> tuple[float | None, ...]:
        index = at[confidence]
        return one.precision[index], one.recall[index], one.f1[index]

    assert scores(0.76) == (None, 0, 0)
    assert scores(0.75) == pytest.approx((1, 0.5, 2 / 3), abs=1e-5)
    assert scores(0.5) == pytest.approx((0.5, 0.5, 0.5), abs=1e-5)
    assert scores(0.01) == pytest.approx((2 / 3, 1, 0.8), abs=1e-5)
    assert curves.mean.best is not None
    assert (curves.mean.best.f1, curves.mean.best.score) == (pytest.approx(0.8, abs=1e-5), 0.01)


# --- training --------------------------------------------------------------------------------


def test_the_training_history_is_plotted_where_there_is_any(
    make_sample: Make, found: Make
) -> None:
    assert _history_charts([]) == []
    first = EpochMetrics(5, 2.0, None, None, None, 0.1)
    assert len(_history_charts([first])) == 2  # there is no score
    second = EpochMetrics(10, 1.0, 0.6, 0.4, 0.5, None)
    assert len(_history_charts([first, second])) == 3
    report = make_report([make_sample()], [found()], NAMES, score_threshold=0.35)
    assert '<h2>Training</h2>' in report_page(report, 'a', {}, epochs=[first])
    assert '<h2>Training</h2>' not in report_page(report, 'a', {})


# --- speed -----------------------------------------------------------------------------------


def test_speed(train_samples: list[Sample]) -> None:
    calls: list[tuple[int, ...]] = []

    class StubDetector:
        engine = SimpleNamespace(info='a stub')

        def detect_timed(self, image: np.ndarray) -> tuple[Detections, StageTimings]:
            calls.append(image.shape)
            return Detections.empty(), StageTimings(0.001, 0.001 * len(calls), 0.002)

        detect = detect_timed

    detector: Any = StubDetector()
    assert measure_speed(detector, []) is None
    speed = measure_speed(detector, train_samples, num_images=3)
    assert speed is not None
    assert (speed.engine_on, speed.num_images, len(calls)) == ('a stub', 3, 6)
    assert speed.stages['preprocess'] == Duration(mean=1.0, p50=1.0, p95=1.0)
    assert speed.stages['engine'].p50 == pytest.approx(5.0)  # not the warm-up
    assert speed.stages['total'].mean == pytest.approx(8.0)
