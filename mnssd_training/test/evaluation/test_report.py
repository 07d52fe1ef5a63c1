"""Reports: plain data, tables, curves and the page."""

from collections.abc import Callable
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mnssd_perception.detector import StageTimings
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation.curves import curves, precision_recall_envelope
from mnssd_training.evaluation.history import history_plots, read_history
from mnssd_training.evaluation.page import draw_failures, draw_scenes, report_page
from mnssd_training.evaluation.report import make_report
from mnssd_training.evaluation.scenes import choose_differing_scenes
from mnssd_training.evaluation.speed import measure_speed
from mnssd_training.evaluation.text import report_text
from mnssd_training.evaluation.voc_ap import average_precision, voc_ap
import numpy as np
import pytest

Make = Callable[..., Any]
Scored = tuple[list[Sample], list[Detections]]
NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
A, B = (0, 0, 100, 100), (300, 300, 400, 400)


def test_a_report_of_nothing(make_sample: Make, found: Make) -> None:
    evaluation = make_report([make_sample()], [found()], NAMES, score_threshold=0.35)
    report = evaluation.report
    assert (evaluation.failures, evaluation.scenes) == ((), ())
    assert report['curves']['classes'] == {}
    assert report['curves']['mean']['best'] is None
    assert report['scores']['coco']['ap'] is None
    text = report_text(report)
    assert 'Person' in text
    assert 'None' not in text
    page = report_page(report, 'nothing', {})
    assert 'None' not in page
    assert '-' in page


def test_a_report_of_real_detections(real: Scored) -> None:
    evaluation = make_report(*real, NAMES, score_threshold=0.35, ious=(0.5, 0.75))
    report, failures = evaluation.report, evaluation.failures
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report['scores']['voc']) == ['0.5', '0.75']
    assert len(failures) == len(report['failures']) > 3
    pictures = draw_failures(*real, failures)
    assert len(pictures) == len(failures)
    scenes = draw_scenes(real[0], [(evaluation, real[1])], evaluation.scenes)
    assert [scene.name for scene in scenes] == [row['image'] for row in report['images']]
    page = report_page(report, 'real', {'model': 'shipped'}, pictures, scenes=scenes)
    assert page.count('<figure class="crop">') == len(failures)
    assert page.count('<figure class="scene">') == len(scenes) > 1
    for failure in report['failures']:
        assert failure['image'] in page


def test_names_are_escaped(make_sample: Make, found: Make) -> None:
    evil = '<script>alert("1")</script> $\\frac{$'  # neither HTML nor mathematics
    sample = make_sample([A], [0], name=evil)
    evaluation = make_report([sample], [found([B], [0.9])], [evil], score_threshold=0.5)
    blank = [np.zeros((8, 8, 3), np.uint8)] * len(evaluation.failures)
    report = {'compared_with': {'model': evil, **evaluation.report}, **evaluation.report}
    page = report_page(report, evil, {evil: evil, 'model': evil}, blank)
    assert len(evaluation.failures) == 2
    assert '<script' not in page
    assert page.count('&lt;script&gt;') > 5


def test_the_confusion_matrix_is_normalised_by_row(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B], [0, 0])
    report = make_report(
        [sample], [found([A], [0.9], [1])], ['a', 'b'], score_threshold=0.5
    ).report
    assert report['confusion']['matrix'] == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert report['confusion']['normalised'] == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]


def test_images_are_the_ones_with_most_errors(make_sample: Make, found: Make) -> None:
    samples = [make_sample([A], [0], name='good'), make_sample([A, B], [0, 0], name='bad')]
    none, best = [found([A], [0.9]), found()], [found([A], [0.9]), found([A, B], [0.9, 0.9])]
    bad, good = (make_report(samples, one, ['a'], score_threshold=0.5) for one in (none, best))
    assert bad.report['images'] == [
        {'image': 'bad', 'correct': 0, 'confused': 0, 'wrong': 0, 'missed': 2}
    ]
    assert good.scenes == ()
    assert choose_differing_scenes(samples, [none, best], [bad.outcomes, good.outcomes]) == [1, 0]


def test_two_models_side_by_side(make_sample: Make, found: Make) -> None:
    samples = [make_sample([A, B], [0, 0])]
    bad, good = (
        make_report(samples, [one], ['a'], score_threshold=0.5).report
        for one in (found([A], [0.9]), found([A, B], [0.9, 0.9]))
    )
    report = {'model': 'bad.pt', 'compared_with': {'model': 'good.pt', **good}, **bad}
    assert report_text(report).splitlines()[-4].split()[:4] == ['a', '0.5000', '1.0000', '+0.5000']
    page = report_page(report, 'two', {'model': 'bad.pt'})
    assert '<td>+0.5000</td>' in page
    assert 'B: good.pt' in page


# --- curves ----------------------------------------------------------------------------------


def test_the_best_threshold(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B], [0, 0])
    wild = [(500, 0, 540, 40), (500, 100, 540, 140)]

    def curve(boxes: list[tuple[int, ...]], scores: list[float]) -> dict[str, Any]:
        return curves([sample], [found(boxes, scores)], ['a', 'b'])['classes']['a']

    one = curve([A, *wild, B], [0.9, 0.6, 0.4, 0.2])
    assert one['best'] == {
        'f1': pytest.approx(2 / 3),
        'score': pytest.approx(0.9),
        'precision': 1.0,
        'recall': 0.5,
    }
    assert (one['recall'], one['precision']) == ([0.5, 1.0], [1.0, 0.5])
    assert curve(wild, [0.9, 0.8])['best'] is None
    assert curve([], [])['recall'] == []
    every = curves([sample], [found([A], [0.9])], ['a', 'b'])
    assert list(every['classes']) == ['a']  # there is no object of the other


def test_the_best_threshold_lies_between_scores_that_differ(
    make_sample: Make, found: Make
) -> None:
    """No threshold keeps the hits and drops the misses of one score."""
    sample = make_sample([A, B, (300, 0, 400, 100)], [0, 0, 0])
    wild = [(500, 0, 540, 40), (500, 100, 540, 140)]
    detections = found([A, B, (300, 0, 400, 100), *wild], [0.75, 0.5, 0.5, 0.5, 0.5])
    every = curves([sample], [detections], ['a'])
    one = every['classes']['a']
    assert one['best'] == {
        'f1': pytest.approx(0.75),
        'score': 0.5,
        'precision': pytest.approx(0.6),
        'recall': 1.0,
    }
    at = every['confidence'].index(0.5)
    assert one['by_confidence']['f1'][at] == pytest.approx(0.75)
    assert every['mean']['best']['f1'] == pytest.approx(0.75)


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
    every = curves([sample], [found([A, (500, 0, 540, 40), B], [0.75, 0.5, 0.25])], ['a'])
    at = {round(value, 2): index for index, value in enumerate(every['confidence'])}
    one = every['classes']['a']['by_confidence']

    def scores(confidence: float) -> tuple[float | None, ...]:
        return tuple(one[key][at[confidence]] for key in ('precision', 'recall', 'f1'))

    assert scores(0.76) == (None, 0, 0)
    assert scores(0.75) == pytest.approx((1, 0.5, 2 / 3), abs=1e-5)
    assert scores(0.5) == pytest.approx((0.5, 0.5, 0.5), abs=1e-5)
    assert scores(0.01) == pytest.approx((2 / 3, 1, 0.8), abs=1e-5)
    assert every['mean']['best'] == {'f1': pytest.approx(0.8, abs=1e-5), 'score': 0.01}


# --- training --------------------------------------------------------------------------------


def test_the_history_of_a_run(tmp_path: Path) -> None:
    checkpoint = tmp_path / 'run' / 'checkpoints' / 'best.pt'
    checkpoint.parent.mkdir(parents=True)
    assert read_history(str(checkpoint)) == []
    assert history_plots([]) == []
    rows = [
        {'kind': 'epoch', 'epoch': 1, 'step': 5, 'loss': 2.0, 'learning_rate': 0.1},
        {'kind': 'epoch', 'epoch': 2, 'step': 10, 'loss': 1.0, 'map50': 0.5},
    ]
    lines = [json.dumps(row) for row in (*rows, {'kind': 'step', 'step': 7}, [1])]
    damaged = ['{"kind": "epoch", "st', '{"kind": "epoch", "step": "x"}', '\x00']
    (tmp_path / 'run' / 'metrics.jsonl').write_text('\n'.join([*lines, *damaged]))
    assert read_history(str(checkpoint)) == rows
    assert read_history('s3://bucket/run/checkpoints/best.pt') == []
    loss, score, rate = history_plots(rows)
    assert (list(loss.lines[0].x), list(loss.lines[0].y)) == ([5, 10], [2.0, 1.0])
    assert (list(score.lines[0].x), list(rate.lines[0].x)) == ([10], [5])


# --- speed -----------------------------------------------------------------------------------


def test_speed(train_samples: list[Sample]) -> None:
    calls: list[tuple[int, ...]] = []

    class Stopwatch:
        engine = SimpleNamespace(info='an abacus')

        def detect_timed(self, image: np.ndarray) -> tuple[Detections, StageTimings]:
            calls.append(image.shape)
            return Detections.empty(), StageTimings(0.001, 0.001 * len(calls), 0.002)

        detect = detect_timed

    detector: Any = Stopwatch()
    assert measure_speed(detector, []) is None
    speed = measure_speed(detector, train_samples, num_images=3)
    assert speed is not None
    assert (speed['engine_on'], speed['num_images'], len(calls)) == ('an abacus', 3, 6)
    assert speed['stages']['preprocess'] == {'mean': 1.0, 'p50': 1.0, 'p95': 1.0}
    assert speed['stages']['engine']['p50'] == pytest.approx(5.0)  # not the warm-up
    assert speed['stages']['total']['mean'] == pytest.approx(8.0)
