"""Measurements of the shipped network."""

from dataclasses import replace
from pathlib import Path

from mnssd_perception.benchmark import (
    BenchmarkOptions,
    find_candidates,
    measure,
    open_subjects,
    Report,
    run_benchmark,
)
from mnssd_perception.bundle import Bundle, open_bundle
from mnssd_perception.engines import EngineOptions, ENGINES
from mnssd_perception.errors import EngineError, SettingsError
from mnssd_perception.image_file import decode_image
import numpy as np
from numpy.typing import NDArray
import pytest

pytest.importorskip('onnxruntime')

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope='module')
def bundle(fp32_bundle: Path) -> Bundle:
    return open_bundle(fp32_bundle)


@pytest.fixture(scope='module')
def images(bundle: Bundle) -> Images:
    return [decode_image(bundle.read(frame.path), frame.path) for frame in bundle.manifest.golden]


def run(bundle: Bundle, images: Images, options: BenchmarkOptions, *threads: int) -> Report:
    candidates = find_candidates(bundle, 'onnxruntime')
    subjects, problems = open_subjects(
        bundle, candidates, threads, images, options, EngineOptions()
    )
    assert problems == []
    return run_benchmark(bundle, subjects, images, options, images_name='golden frames')


def test_each_number_of_threads_is_a_run(bundle: Bundle, images: Images) -> None:
    report = run(bundle, images, BenchmarkOptions(1, 5, 2), 1, 2)
    assert [item.threads for item in report.runs] == [1, 2]
    assert report.digest == bundle.digest
    for item in report.runs:
        assert len(item.total_ms) == 5
        total = item.stages['total']
        assert 0 < total.p25 <= total.p50 <= total.p75 <= total.p95 <= total.p99
        assert item.stages['infer'].p50 < total.p50
        assert 0 < item.frames_per_second <= 1001 / np.mean(item.total_ms)
        assert item.warm_up.first_ms > 0
        assert item.warm_up.load_s > 0
        assert item.cpu_cores > 0
        assert item.loaded_mib is not None
        assert item.path == 'network.onnx'
        assert 'onnxruntime' in item.description


def test_times_of_a_batch_are_shared_by_its_frames(bundle: Bundle, images: Images) -> None:
    (item,) = run(bundle, images, BenchmarkOptions(2, 9, 1), 2).runs
    assert len(item.total_ms) == 4  # whole batches
    assert 0 < item.frames_per_second <= 1001 / np.mean(item.total_ms)


def test_sensors_are_read_after_each_turn(
    bundle: Bundle, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    watts, celsius = iter([4.0, 5.0, 9.0]), iter([50.0, 60.0, 55.0])
    monkeypatch.setattr(measure, 'TURN', 2)
    monkeypatch.setattr(measure, 'read_power', lambda: {'VDD_IN': next(watts)})
    monkeypatch.setattr(measure, 'read_temperatures', lambda: {'cpu': next(celsius)})
    (item,) = run(bundle, images, BenchmarkOptions(1, 5, 1), 0).runs
    assert item.power_w == {'VDD_IN': 6.0}
    assert item.temperature_c == {'cpu': 60.0}


def test_an_engine_that_detects_something_else_is_not_measured(
    bundle: Bundle, images: Images
) -> None:
    frame = replace(bundle.manifest.golden[0], boxes=((0.0, 0.0, 9.0, 9.0),), scores=(0.9,),
                    labels=(0,))  # fmt: skip
    other = replace(bundle, manifest=replace(bundle.manifest, golden=(frame,)))
    candidates = find_candidates(other, 'onnxruntime')
    options = BenchmarkOptions(1, 4, 1)
    subjects, problems = open_subjects(other, candidates, [1], images, options, EngineOptions())
    assert subjects == []
    assert 'onnxruntime (fp32): self-test of bundle' in problems[0]


def test_an_engine_that_is_missing_is_named_once(
    bundle: Bundle, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENGINES['onnxruntime'], 'available', lambda: 'it is not installed')
    candidates = find_candidates(bundle, 'onnxruntime') * 2
    options = BenchmarkOptions(1, 4, 1)
    opened = open_subjects(bundle, candidates, [1, 2], images, options, EngineOptions())
    assert opened == ([], ['onnxruntime: it is not installed'])


def test_all_engines_are_candidates(bundle: Bundle) -> None:
    names = [candidate.engine for candidate in find_candidates(bundle, tries_all=True)]
    assert 'onnxruntime' in names
    with pytest.raises(EngineError, match='has no network'):
        find_candidates(bundle, precision='fp16', tries_all=True)
    with pytest.raises(SettingsError, match='engine: expected one of'):
        find_candidates(bundle, 'onnxrunetime', tries_all=True)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 200, 20), 'batch: expected 1 to 256, got 0'),
        ((257, 9999, 20), 'batch: expected 1 to 256, got 257'),
        ((1, 3, 20), 'frames: expected 4 to 1000000 with batches of 1, got 3'),
        ((8, 31, 20), 'frames: expected 32 to 1000000 with batches of 8, got 31'),
        ((1, 200, 0), 'warmup: expected 1 to 1000000, got 0'),
    ],
)
def test_options_out_of_range_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        BenchmarkOptions(*arguments)
