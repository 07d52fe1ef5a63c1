"""Rows of numbers on their way to TensorBoard, MLflow and Weights & Biases."""

from collections.abc import Callable
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train.loggers import flatten, flatten_numbers, open_log, open_loggers
import numpy as np
import pytest

Make = Callable[..., Experiment]
IMAGE = np.full((4, 6, 3), 200, np.uint8)


def test_numbers_are_named_by_their_path() -> None:
    assert flatten_numbers({}) == {}
    tree = {'map50': 0.5, 'ap50': {'Car': 1, 'Tank': None}, 'word': 'x', 'yes': True}
    assert flatten_numbers(tree, 'val/') == {'val/map50': 0.5, 'val/ap50/Car': 1}
    assert dict(flatten(tree))['word'] == 'x'


def test_nothing_is_opened_that_nobody_wants(tiny: Make, tmp_path: Path) -> None:
    assert open_loggers(tiny(), tmp_path, 0) == []


def test_tensorboard_holds_numbers_and_images(tiny: Make, tmp_path: Path) -> None:
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    (logger,) = open_loggers(tiny(**{'logging.tensorboard': 'true'}), tmp_path, 0)
    logger.add_numbers({'train/loss': 2.0}, 10)
    logger.add_image('val/one', IMAGE, 10)
    logger.close()
    (again,) = open_loggers(tiny(**{'logging.tensorboard': 'true'}), tmp_path, 5)
    again.add_numbers({'train/loss': 1.0}, 10)  # of the resumed run; the other is taken back
    again.close()
    events = accumulator.EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    assert [(event.step, event.value) for event in events.Scalars('train/loss')] == [(10, 1.0)]


@pytest.mark.parametrize('name', ['mlflow', 'wandb'])
def test_a_package_that_is_missing_is_named(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainingError, match=rf'logging\.{name} needs the package {name}'):
        open_loggers(tiny(**{f'logging.{name}': 'there'}), tmp_path, 0)


def fake_mlflow(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for mlflow, with the signatures of its fluent functions."""
    module = ModuleType('mlflow')

    def start_run(run_id: str | None = None, run_name: str | None = None) -> Any:
        calls.append(('start_run', run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or 'abc'))

    def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
        calls.append(('log_metrics', metrics, step))

    def log_image(image: Any, artifact_file: str | None = None) -> None:
        calls.append(('log_image', image.shape, artifact_file))

    def set_tracking_uri(uri: str | Path) -> None:
        calls.append(('set_tracking_uri', uri))

    def set_experiment(experiment_name: str | None = None) -> None:
        calls.append(('set_experiment', experiment_name))

    def log_params(params: dict[str, Any]) -> None:
        calls.append(('log_params', params['optimizer/learning_rate']))

    def end_run(status: str = 'FINISHED') -> None:
        calls.append(('end_run', status))

    for function in (
        start_run, log_metrics, log_image, set_tracking_uri, set_experiment, log_params, end_run
    ):  # fmt: skip
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, 'mlflow', module)
    return module


def test_mlflow_gets_a_run_and_a_resumed_run_goes_on_in_it(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    fake_mlflow(calls, monkeypatch)
    wanted = tiny(**{'logging.mlflow': 'file:there'})
    (logger,) = open_loggers(wanted, tmp_path, 0)
    logger.add_numbers({'val/AP@0.5': 0.25}, 7)
    logger.add_image('val/one', IMAGE, 7)
    logger.close()
    assert calls == [
        ('set_tracking_uri', 'file:there'),
        ('set_experiment', 'smoke'),
        ('start_run', None, tmp_path.name),
        ('log_params', '0.001'),
        ('log_metrics', {'val/AP_at_0.5': 0.25}, 7),
        ('log_image', (4, 6, 3), 'val/one/7.png'),
        ('end_run', 'FINISHED'),
    ]
    open_loggers(wanted, tmp_path, 7)
    assert calls[-1] == ('start_run', 'abc', tmp_path.name)


def test_a_server_that_is_away_is_told_in_words(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: Any) -> None:
        raise ConnectionError('nobody\nanswers')

    monkeypatch.setattr(fake_mlflow([], monkeypatch), 'start_run', away)
    with pytest.raises(TrainingError, match=r'logging\.mlflow: nobody answers'):
        open_loggers(tiny(**{'logging.mlflow': 'http://away'}), tmp_path, 0)


def test_wandb_gets_numbers_and_images(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    module = ModuleType('wandb')

    class Run:
        def log(self, data: dict[str, Any], step: int | None = None) -> None:
            calls.append((data, step))

        def finish(self, exit_code: int | None = None) -> None:
            calls.append('finish')

    def init(*, project: str, id: str, name: str, dir: str, config: Any, resume: str) -> Run:
        calls.append((project, id, resume, config['experiment']['id']))
        return Run()

    module.init = init  # type: ignore[attr-defined]
    module.Image = lambda data_or_path: ('image', data_or_path.shape)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'wandb', module)
    (logger,) = open_loggers(tiny(**{'logging.wandb': 'drones'}), tmp_path, 0)
    logger.add_numbers({'train/loss': 1.0}, 3)
    logger.add_image('val/one', IMAGE, 3)
    logger.close()
    assert calls == [
        ('drones', tmp_path.name, 'allow', 'smoke'),
        ({'train/loss': 1.0}, 3),
        ({'val/one': ('image', (4, 6, 3))}, 3),
        'finish',
    ]


def test_sentences_go_to_the_file_and_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_log(tmp_path / 'train.log') as log:
        log.info('it goes')
        log.error('it does not')  # the verb says that by itself
    with open_log(tmp_path / 'train.log', quiet=True) as log:
        log.info('still')
    with open_log(None) as log:
        log.info('another process')
    lines = (tmp_path / 'train.log').read_text().splitlines()
    assert [line.split(' ', 3)[3] for line in lines] == ['it goes', 'it does not', 'still']
    assert capsys.readouterr() == ('it goes\n', '')
    with pytest.raises(TrainingError, match='cannot be written'), open_log(tmp_path):
        pass
