"""The table of a suite."""

from collections.abc import Callable
import json
import math
from pathlib import Path
from typing import Any

from mnssd_training.suite import report_suite, report_text, report_to_json, Suite, SuiteRun
import pytest

MakeRuns = Callable[..., tuple[SuiteRun, ...]]
SUITE = Suite(experiment='smoke', recipes={'control': {}, 'giou': {}}, classes=('Person', 'Car'))
ALL, NO_BICYCLE, CAR = (0, 1, 2, 3), (0, 1), (1,)


def test_suite_that_never_ran_has_only_missing_runs(make_runs: MakeRuns) -> None:
    report = report_suite(SUITE, make_runs())
    assert [run.state for run in report.unfinished] == ['missing'] * 2
    text = report_text(report)
    assert 'no scores: giou, block all, seed 1337: missing, 0 images seen' in text
    assert json.loads(json.dumps(report_to_json(report)))['recipes'][0]['images'] is None


def test_recipe_is_compared_with_the_control_in_pairs(
    make_runs: MakeRuns, finish: Callable[..., None]
) -> None:
    control_1, giou_1, control_2, giou_2 = make_runs(seeds=[1, 2])
    finish(control_1, CAR)
    finish(giou_1, ALL)
    finish(giou_2, CAR)  # has no partner
    report = report_suite(SUITE, (control_1, giou_1, control_2, giou_2))
    control, giou = report.recipes
    spread = giou.scores['AP50']
    assert spread and (spread.mean, spread.num) == (0.75, 2)
    assert spread.deviation == pytest.approx(math.sqrt(0.125))
    difference = giou.differences['AP50']
    assert difference and (difference.mean, difference.deviation, difference.num) == (0.5, None, 1)
    assert control.scores['AP50 Person'].mean == 0  # type: ignore[union-attr]
    assert [(run.recipe, run.seed) for run in report.unfinished] == [('control', 2)]
    assert giou.images == 10


def test_first_mean_is_over_the_chosen_classes(
    make_runs: MakeRuns, finish: Callable[..., None]
) -> None:
    runs = make_runs()
    finish(runs[0], NO_BICYCLE)
    scores = report_suite(SUITE, runs).runs[0].scores
    assert scores['AP50'] == 1
    assert scores['AP50 all classes'] == pytest.approx(2 / 3)  # there is no OtherVehicle
    assert scores['AP50 OtherVehicle'] is None
    everything = SUITE.model_copy(update={'classes': ()})
    assert report_suite(everything, runs).runs[0].scores['AP50'] == pytest.approx(2 / 3)


def test_groups_and_blocks_are_columns(
    make_runs: MakeRuns, finish: Callable[..., None], metrics: Callable[..., dict[str, Any]]
) -> None:
    runs = make_runs(blocks={'A': [], 'B': []})
    for run, found in zip(runs, (CAR, ALL, ALL, ALL)):
        finish(run, found, groups={'day': metrics(found)})
    control, giou = report_suite(SUITE, runs).recipes
    by_title = {title: spread and spread.mean for title, spread in control.scores.items()}
    assert by_title['AP50 day'] == 0.75
    assert (by_title['AP50 block A'], by_title['AP50 block B']) == (0.5, 1.0)
    assert giou.differences['AP50 block A'].mean == 0.5  # type: ignore[union-attr]


def test_run_that_has_not_finished_counts_in_no_mean(
    make_runs: MakeRuns, finish: Callable[..., None]
) -> None:
    runs = make_runs()
    finish(runs[0], ALL, 'preempted')
    report = report_suite(SUITE, runs)
    assert report.recipes[0].scores == {}
    assert 'preempted (out of luck), 10 images seen' in report_text(report)
    assert report.recipes[0].speeds['images/s'].mean == 50.0  # type: ignore[union-attr]


@pytest.mark.parametrize('content', [b'', b'\xff', b'[]', b'{"status": "success"}', b'null'])
def test_damaged_status_counts_as_missing(make_runs: MakeRuns, content: bytes) -> None:
    run = make_runs()[0]
    run.folder.mkdir(parents=True)
    (run.folder / 'status.json').write_bytes(content)
    (run.folder / 'metrics.jsonl').write_bytes(content)
    assert report_suite(SUITE, [run]).runs[0].state == 'missing'


def test_markdown_has_a_line_for_each_row(
    make_runs: MakeRuns, finish: Callable[..., None], tmp_path: Path
) -> None:
    runs = make_runs()
    for run in runs:
        finish(run, ALL)
    lines = report_text(report_suite(SUITE, runs), markdown=True).splitlines()
    assert lines[0].startswith('| recipe | runs | images seen | AP50 |')
    assert lines[2].startswith('| control | 1/1 | 10 | 1.000 |')
    assert lines[4].startswith('| ... against control | 1 |  | +0.000 |')
    assert len({line.count('|') for line in lines[:5]}) == 1
