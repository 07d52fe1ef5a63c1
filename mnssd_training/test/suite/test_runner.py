"""Trainings side by side, interrupted and resumed."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
import sys
from threading import Timer

from mnssd_training.suite import run_suite, runner, SuiteRun
from mnssd_training.suite.status import read_status
import pytest

MakeRuns = Callable[..., tuple[SuiteRun, ...]]

# Behaves like a run that takes a while and stops at the first SIGTERM.
RUN = """
import json, os, pathlib, signal, sys, time
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
def stop(*_):
    write('preempted')
    sys.exit(143)
def write(status):
    text = json.dumps({'status': status, 'reason': os.environ['OMP_NUM_THREADS']})
    (folder / 'status.json').write_text(text)
signal.signal(signal.SIGTERM, stop)
write('running')
(folder / 'starts').open('a').write('x')
if seconds < 0:
    print('error: no luck', file=sys.stderr)
    sys.exit(1)
time.sleep(seconds)
write('success')
"""


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Replace trainings by programs that take so long; negative to fail."""
    durations: dict[str, float] = {}

    def command(run: SuiteRun) -> list[str]:
        return [sys.executable, '-c', RUN, str(run.folder), str(durations.get(run.name, 0))]

    monkeypatch.setattr(runner, 'train_command', command)
    monkeypatch.setattr(runner, 'POLL_SECONDS', 0.01)
    return durations


def test_no_runs_end_at_once() -> None:
    assert run_suite([]) == runner.Outcome({}, (), 0)


def test_failed_run_does_not_keep_the_others_from_running(
    make_runs: MakeRuns, seconds: dict[str, float]
) -> None:
    runs = make_runs(seeds=[1, 2])
    seconds['control_all_1'] = -1
    lines: list[str] = []
    outcome = run_suite(runs, jobs=2, report=lines.append)
    assert outcome.failed == {'control_all_1': 'no luck'}
    assert [read_status(run.folder).state for run in runs[1:]] == ['success'] * 3
    assert 'failed control_all_1: no luck' in lines


def test_finished_runs_are_skipped_and_failed_ones_tried_again(
    make_runs: MakeRuns, seconds: dict[str, float]
) -> None:
    runs = make_runs()
    seconds['control_all_1337'] = -1
    run_suite(runs)
    seconds.clear()
    assert run_suite(runs) == runner.Outcome({}, (), 0)
    assert [(run.folder / 'starts').read_text() for run in runs] == ['xx', 'x']


def test_time_limit_stops_the_runs_and_starts_no_more(
    make_runs: MakeRuns, seconds: dict[str, float]
) -> None:
    runs = make_runs()
    seconds['control_all_1337'] = 60
    outcome = run_suite(runs, time_limit=1.0)
    assert outcome == runner.Outcome({}, ('control_all_1337',), 0)
    assert [read_status(run.folder).state for run in runs] == ['preempted', 'missing']


def test_signal_stops_the_runs(make_runs: MakeRuns, seconds: dict[str, float]) -> None:
    runs = make_runs()
    seconds |= dict.fromkeys((run.name for run in runs), 60.0)
    Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    outcome = run_suite(runs, jobs=2)
    assert outcome.signum == signal.SIGINT
    assert sorted(outcome.stopped) == [run.name for run in runs]
    assert {read_status(run.folder).state for run in runs} == {'preempted'}


def test_runs_share_the_cores(
    make_runs: MakeRuns, seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)))
    run = make_runs()[0]
    run_suite([run], jobs=3)
    assert read_status(run.folder).reason == '2'


@pytest.mark.slow
def test_trainings_are_stopped_and_resumed(make_runs: MakeRuns) -> None:
    runs = make_runs(
        recipes={'control': {'overrides': ['training.epochs=8', 'evaluation.every_epochs=8']}}
    )

    def stop_after_a_step(progress: str) -> None:
        if 'loss' in progress:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append(progress)

    steps: list[str] = []
    outcome = run_suite(runs, show_progress=lambda line: steps or stop_after_a_step(line))
    assert outcome.stopped == ('control_all_1337',)
    status = read_status(runs[0].folder)
    assert status.state == 'preempted'
    assert 0 < status.row['step'] < 16
    assert run_suite(runs) == runner.Outcome({}, (), 0)
    status = read_status(runs[0].folder)
    assert (status.state, status.evaluated['images']) == ('success', 32)


def test_folder_that_cannot_be_made_is_an_error(make_runs: MakeRuns, tmp_path: Path) -> None:
    (tmp_path / 'runs').write_text('a file')
    with pytest.raises(runner.TrainingError, match='cannot start: Not a directory'):
        run_suite(make_runs())
