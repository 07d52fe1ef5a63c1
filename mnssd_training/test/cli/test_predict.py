"""``predict`` as a user meets it: every kind of source, with overlays out."""

from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
import json
from pathlib import Path
import shutil
from threading import Thread
from typing import Any

import cv2
from mnssd_training.cli import predict
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

NAME = '0_60_50_0_06519.jpg'
NS = 10**9


@pytest.fixture(scope='module')
def photograph(hit_uav: Path) -> Path:
    return hit_uav / 'JPEGImages' / NAME


@pytest.fixture(scope='module')
def film(photograph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames at 5 a second."""
    path = tmp_path_factory.mktemp('film') / 'film.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 5, (320, 256))
    image = cv2.resize(cv2.imread(str(photograph)), (320, 256))
    for _ in range(8):
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def look(tmp_path: Path, bundle: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run the verb and read the lines that it wrote."""

    def run(*arguments: object, model: Path = bundle) -> list[dict[str, Any]]:
        output = tmp_path / 'out'
        every = [*arguments, '--model', model, '--output', output]
        assert predict.main(list(map(str, every))) == 0
        lines = (output / 'detections.jsonl').read_text().splitlines()
        return [json.loads(line) for line in lines]

    return run


def frames(path: Path) -> list[np.ndarray]:
    """Read a video."""
    capture = cv2.VideoCapture(str(path))
    images = []
    while (item := capture.read())[0]:
        images.append(item[1])
    return images


def test_folders_and_files(look: Any, hit_uav: Path, tmp_path: Path, capsys: Any) -> None:
    colour = tmp_path / 'colour.png'
    cv2.imwrite(str(colour), np.full((60, 80, 3), (10, 20, 200), np.uint8))
    rows = look(hit_uav / 'JPEGImages', colour, '--score-threshold', '0.02')
    assert 'JPEGImages: 8 images' in capsys.readouterr().out
    assert len(rows) == 9
    for row in rows:
        assert (tmp_path / 'out' / f'{Path(row["image"]).stem}.jpg').exists()
        for one in row['detections']:
            assert one['class'] in ('Person', 'Car', 'Bicycle', 'OtherVehicle')
            assert 0.02 <= one['score'] <= 1
    assert sum(len(row['detections']) for row in rows) > 20
    overlay = cv2.imread(str(tmp_path / 'out' / 'colour.jpg'))
    assert overlay.shape == (60, 80, 3)
    assert np.median(overlay[..., 2]) > np.median(overlay[..., 0]) + 100  # red stayed red


def test_a_thermal_image_of_16_bits(look: Any, tmp_path: Path) -> None:
    greys = np.linspace(29000, 29300, 60 * 80).reshape(60, 80).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'thermal.png'), greys)
    assert len(look(tmp_path / 'thermal.png')) == 1
    overlay = cv2.imread(str(tmp_path / 'out' / 'thermal.jpg'))
    assert int(overlay.max()) - int(overlay.min()) > 200


def test_checkpoint_onnx_and_bundle_give_the_same_detections(
    look: Any, checkpoint: Path, network: Path, bundle: Path, photograph: Path
) -> None:
    first, *others = (
        look(photograph, '--no-overlay', '--score-threshold', '0.3', model=model)[0]['detections']
        for model in (bundle, network, checkpoint)
    )
    assert len(first) > 3
    for found in others:
        assert [one['class'] for one in found] == [one['class'] for one in first]
        for one, wanted in zip(found, first):
            assert one['box'] == pytest.approx(wanted['box'], abs=0.1)
            assert one['score'] == pytest.approx(wanted['score'], abs=1e-3)


def test_a_video(look: Any, film: Path, tmp_path: Path) -> None:
    rows = look(film, '--limit', '7')
    assert [row['image'] for row in rows] == ['1', '2', '3', '4', '5', '6', '7']
    assert [row['stamp_ns'] for row in rows] == [i * NS // 5 for i in range(7)]
    images = frames(tmp_path / 'out' / 'film.mp4')
    assert len(images) == 7
    assert images[0].shape == (256, 320, 3)


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_bag(look: Any, photograph: Path, tmp_path: Path, storage: StoragePlugin) -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = 'sensor_msgs/msg/CompressedImage'
    time, header = types.types['builtin_interfaces/msg/Time'], types.types['std_msgs/msg/Header']
    data = np.frombuffer(photograph.read_bytes(), np.uint8)
    with Writer(tmp_path / 'flight', version=9, storage_plugin=storage) as bag:
        topics = [bag.add_connection(name, kind, typestore=types) for name in ('/left', '/right')]
        for number in range(4):
            stamp = header(time(number // 2, number % 2 * NS // 2), 'camera')
            message = types.types[kind](stamp, 'jpeg', data)
            bag.write(topics[0], number, types.serialize_cdr(message, kind))
    rows = look(tmp_path / 'flight', '--topic', '/left')
    # The first has no stamp of its own: when it was recorded counts.
    assert [row['stamp_ns'] for row in rows] == [0, NS // 2, NS, 3 * NS // 2]
    assert all(row['detections'] for row in rows)
    assert len(frames(tmp_path / 'out' / 'flight.mp4')) >= 4


@pytest.fixture
def address(photograph: Path, film: Path, tmp_path: Path) -> Iterator[str]:
    """Serve the image and the film."""
    folder = tmp_path / 'served'
    folder.mkdir()
    shutil.copy(photograph, folder / 'one image.jpg')
    shutil.copy(film, folder / 'film.mp4')
    (folder / 'text.png').write_text('text')
    handler = partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *_: object) -> None:
        pass


def test_urls(
    look: Any, address: str, tmp_path: Path, bundle: Path, fails: Callable[..., str]
) -> None:
    rows = look(f'{address}/one%20image.jpg', f'{address}/film.mp4')
    assert [row['image'] for row in rows] == ['one image.jpg', *'12345678']
    assert (tmp_path / 'out' / 'one image.jpg').exists()
    assert len(frames(tmp_path / 'out' / 'film.mp4')) >= 8

    def error(name: str) -> str:
        place = ['--model', bundle, '--output', tmp_path / 'other']
        return fails(predict.main, f'{address}/{name}', *place)

    assert 'cannot fetch' in error('gone.jpg')
    assert 'not an image, or damaged' in error('text.png')


# --- what fails ------------------------------------------------------------------------------


def test_invalid_sources_are_refused(
    bundle: Path, photograph: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.jpg').write_text('text')

    def error(*arguments: object) -> str:
        return fails(predict.main, *arguments)

    to = ['--model', bundle, '--output', tmp_path / 'out']
    assert 'the path does not exist' in error('gone.jpg', *to)
    assert 'cannot open' in error('x' * 5000, *to)  # too long for a path
    assert 'expected images' in error(tmp_path / 'empty', *to)
    assert 'no readable frame' in error(tmp_path / 'text.jpg', *to)
    assert 'no camera' in error('/dev/video99', *to)
    assert 'no such file or directory' in error(photograph, '--model', 'gone.mnssd')
    assert 'score_threshold' in error(photograph, *to, '--score-threshold', '0')
    file = ['--model', bundle, '--output', tmp_path / 'text.jpg']
    assert 'text.jpg' in error(photograph, *file)


def test_input_images_are_never_overwritten(
    bundle: Path, photograph: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    own = tmp_path / 'image.jpg'
    shutil.copy(photograph, own)
    before = own.read_bytes()

    def error(*arguments: object) -> str:
        return fails(predict.main, *arguments, '--model', bundle)

    assert 'holds the images themselves' in error(tmp_path, '--output', tmp_path)
    (tmp_path / 'other').mkdir()
    shutil.copy(own, tmp_path / 'other' / 'image.png')
    out = ['--output', tmp_path / 'out']
    assert "another image named 'image'" in error(own, tmp_path / 'other', *out)
    shutil.copy(own, tmp_path / 'image.png')
    assert "another image named 'image'" in error(tmp_path, *out)
    assert own.read_bytes() == before
    assert not (tmp_path / 'out').exists()


def test_a_damaged_image_in_a_folder_is_reported(
    look: Any, photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'folder'
    folder.mkdir()
    shutil.copy(photograph, folder)
    (folder / 'broken.jpg').write_text('text')
    assert [row['image'] for row in look(folder)] == [NAME]
    assert 'warning: skipping a frame' in capsys.readouterr().err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ([], ['image.jpg', '--limit', '0']):
        with pytest.raises(SystemExit) as left:
            predict.main(wrong)
        assert left.value.code == 2
        assert 'predict: error: ' in capsys.readouterr().err
