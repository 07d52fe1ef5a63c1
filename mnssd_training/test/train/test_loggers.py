"""Metrics in TensorBoard, MLflow and Weights & Biases, and the messages of a run."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
import json
import os
from pathlib import Path
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any
import urllib.parse
import urllib.request

import cv2
from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train import Preempted, StopRequest, train
from mnssd_training.train.loggers import flatten, flatten_numbers, open_log, open_loggers
import numpy as np
import pytest

Make = Callable[..., Experiment]
IMAGE = np.full((4, 6, 3), 200, np.uint8)


def test_flatten_names_numbers_by_their_path() -> None:
    assert flatten_numbers({}) == {}
    tree = {'map50': 0.5, 'ap50': {'Car': 1, 'Tank': None}, 'word': 'x', 'yes': True}
    assert flatten_numbers(tree, 'val/') == {'val/map50': 0.5, 'val/ap50/Car': 1}
    assert dict(flatten(tree))['word'] == 'x'


def test_no_logger_is_opened_by_default(tiny: Make, tmp_path: Path) -> None:
    assert open_loggers(tiny(), tmp_path, 0) == []


def test_tensorboard_resumed_run_replaces_later_steps(tiny: Make, tmp_path: Path) -> None:
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    (logger,) = open_loggers(tiny(**{'logging.tensorboard': 'true'}), tmp_path, 0)
    logger.add_numbers({'train/loss': 2.0}, 10)
    logger.add_image('val/one', IMAGE, 10)
    logger.close('success')
    (again,) = open_loggers(tiny(**{'logging.tensorboard': 'true'}), tmp_path, 5)
    again.add_numbers({'train/loss': 1.0}, 10)  # of the resumed run; the other is taken back
    again.close('success')
    events = accumulator.EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    assert [(event.step, event.value) for event in events.Scalars('train/loss')] == [(10, 1.0)]


@pytest.mark.parametrize('name', ['mlflow', 'wandb'])
def test_missing_package_is_named(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainingError, match=rf'logging\.{name} needs the package {name}'):
        open_loggers(tiny(**{f'logging.{name}': 'there'}), tmp_path, 0)


# --- MLflow, on a server of its own ----------------------------------------------------------


@pytest.fixture(scope='module')
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an MLflow server that stores in SQLite; yield its address."""
    pytest.importorskip('mlflow')
    folder = tmp_path_factory.mktemp('mlflow')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, '-m', 'mlflow', 'server', '--host', '127.0.0.1', '--port', str(port),
        '--workers', '1', '--backend-store-uri', f'sqlite:///{folder}/mlflow.db',
        '--artifacts-destination', str(folder / 'artifacts'),
    ]  # fmt: skip
    log = folder / 'server.log'
    with log.open('w') as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    url = f'http://127.0.0.1:{port}'
    try:
        while True:
            try:
                urllib.request.urlopen(f'{url}/health').close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def mlflow_get(url: str, endpoint: str, **query: str) -> Any:
    """Read from the REST API of an MLflow server."""
    address = f'{url}/api/2.0/mlflow/{endpoint}?{urllib.parse.urlencode(query)}'
    with urllib.request.urlopen(address) as response:
        return json.load(response)


def mlflow_run(url: str, folder: Path) -> Any:
    run_id = (folder / 'mlflow_run.txt').read_text()
    return mlflow_get(url, 'runs/get', run_id=run_id)['run']


@pytest.mark.slow
def test_mlflow_run_is_killed_resumed_and_finished(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    mlflow_server: str,
    tmp_path: Path,
) -> None:
    folder, stop = tmp_path / 'run', StopRequest()

    def signalled(forward_backward: Any, *args: Any) -> Any:
        stop.handle_signal(signal.SIGTERM)
        return forward_backward(*args)

    experiment = tiny(**{'logging.mlflow': mlflow_server, 'logging.images': 1})
    replace_step(2, signalled)
    with pytest.raises(Preempted):
        train(experiment, folder, progress=False, stop=stop)
    killed = mlflow_run(mlflow_server, folder)
    assert killed['info']['status'] == 'KILLED'
    train(experiment, folder, resume=True, progress=False)
    run = mlflow_run(mlflow_server, folder)
    assert run['info']['run_id'] == killed['info']['run_id']
    assert (run['info']['run_name'], run['info']['status']) == ('run', 'FINISHED')
    params = {item['key']: item['value'] for item in run['data']['params']}
    assert params['experiment/id'] == 'smoke'
    assert float(params['optimizer/learning_rate']) == experiment.optimizer.learning_rate
    history = mlflow_get(
        mlflow_server, 'metrics/get-history', run_id=run['info']['run_id'], metric_key='train/loss'
    )
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    assert [(item['step'], item['value']) for item in history['metrics']] == [
        (row['step'], row['loss']) for row in rows if row['kind'] == 'step'
    ]
    assert len(history['metrics']) == 4
    metrics = {item['key'] for item in run['data']['metrics']}
    assert {'epoch/loss', 'val/map50', 'val/coco/ap'} <= metrics
    (image,) = mlflow_get(
        mlflow_server, 'artifacts/list', run_id=run['info']['run_id'], path='val'
    )['files']
    import mlflow

    path = mlflow.artifacts.download_artifacts(
        f'runs:/{run["info"]["run_id"]}/{image["path"]}/4.png', tracking_uri=mlflow_server
    )
    height, width, _ = cv2.imread(path).shape
    assert width > height  # ground truth beside detections


@pytest.mark.slow
def test_mlflow_run_fails_with_the_training(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    mlflow_server: str,
    tmp_path: Path,
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    replace_step(0, fail)
    with pytest.raises(ZeroDivisionError):
        train(tiny(**{'logging.mlflow': mlflow_server}), tmp_path / 'run', progress=False)
    assert mlflow_run(mlflow_server, tmp_path / 'run')['info']['status'] == 'FAILED'


@pytest.mark.slow
def test_mlflow_metrics_of_any_class_name(tiny: Make, mlflow_server: str, tmp_path: Path) -> None:
    (logger,) = open_loggers(tiny(**{'logging.mlflow': mlflow_server}), tmp_path, 0)
    logger.add_numbers({'val/ap50/car + trailer @ 3 m': 0.25}, 7)
    logger.close('success')
    (metric,) = mlflow_run(mlflow_server, tmp_path)['data']['metrics']
    assert (metric['key'], metric['value'], metric['step']) == (
        'val/ap50/car _ trailer _ 3 m', 0.25, 7
    )  # fmt: skip


def test_mlflow_server_that_does_not_answer(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('mlflow')
    monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
    with pytest.raises(TrainingError, match=r'logging\.mlflow: .*127\.0\.0\.1:9'):
        open_loggers(tiny(**{'logging.mlflow': 'http://127.0.0.1:9'}), tmp_path, 0)


# --- Weights & Biases, offline ---------------------------------------------------------------


def wandb_records(path: Path) -> Iterator[Any]:
    """
    Read the records of an offline run.

    The file is a log of LevelDB with a header of 7 bytes: blocks of 32 KiB, in which each fragment
    has checksum, size and position (1 complete, 4 last) in front.
    """
    from wandb.proto import wandb_internal_pb2

    content, offset, record = path.read_bytes(), 7, b''
    while offset + 7 <= len(content):
        rest_of_block = 32768 - offset % 32768
        if rest_of_block < 7:
            offset += rest_of_block
            continue
        _, size, position = struct.unpack_from('<IHB', content, offset)
        record += content[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if position in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)
            record = b''


@pytest.mark.parametrize('is_failing', [False, True], ids=['success', 'failure'])
def test_wandb_run_is_written_offline(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_failing: bool,
) -> None:
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    folder = tmp_path / 'run'
    experiment = tiny(**{'logging.wandb': 'drones', 'logging.images': 1, 'training.epochs': 1})
    if is_failing:
        replace_step(1, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) if is_failing else nullcontext():
        train(experiment, folder, progress=False)
    (path,) = folder.glob('wandb/offline-run-*/*.wandb')
    records = list(wandb_records(path))
    (run,) = (record.run for record in records if record.WhichOneof('record_type') == 'run')
    assert (run.run_id, run.project) == ('run', 'drones')
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config['experiment']['id'] == 'smoke'
    (end,) = (record.exit for record in records if record.WhichOneof('record_type') == 'exit')
    assert end.exit_code == is_failing
    history = {
        record.history.step.num: {
            '/'.join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records
        if record.WhichOneof('record_type') == 'history'
    }
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    losses = {row['step']: row['loss'] for row in rows if row['kind'] == 'step'}
    assert {step: row['train/loss'] for step, row in history.items()} == losses
    assert list(losses) == [1] if is_failing else [1, 2]
    if not is_failing:
        assert history[2]['val/map50'] == rows[-1]['map50']
        (image,) = path.parent.rglob('val/*.png')
        height, width, _ = cv2.imread(str(image)).shape
        assert width > height  # ground truth beside detections


# --- messages --------------------------------------------------------------------------------


def test_messages_go_to_file_and_terminal(
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
