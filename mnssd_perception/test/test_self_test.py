"""Tests of the self-test on golden frames, with an engine that is wrong in chosen ways."""

from dataclasses import replace
from pathlib import Path
import shutil

import cv2
from mnssd_perception import self_test
from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GoldenFrame,
    Manifest,
    open_bundle,
    PRECISIONS,
    shipped_bundle_path,
    write_bundle,
)
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine, EngineInfo, EngineOptions, open_engine
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError, SelfTestError
from mnssd_perception.self_test import (
    choose_tolerance,
    compare_detections,
    find_difference,
    run_self_test,
    Tolerance,
    TOLERANCES,
)
from mnssd_perception.ssd import (
    Detections,
    FeatureMap,
    ModelSpec,
    prior_digest,
    RawHeads,
    Thresholds,
)
import numpy as np
import pytest

SPEC = ModelSpec((16, 16), ('car', 'van', 'bus'), (FeatureMap((2, 2), (8.0, 8.0), ((8.0, 8.0),)),))
FP32 = TOLERANCES['fp32']


class QuartersEngine(Engine):
    """
    Finds a car in every quarter of the input that is red, a van in green, a bus in blue.

    :param change: what is wrong with it, applied to its raw heads.
    """

    info = EngineInfo('quarters', '1', 'fp32', 'paper')

    def __init__(self, change=lambda heads: heads, **info):
        super().__init__(SPEC)
        self.change, self.num_runs = change, 0
        self.info = replace(self.info, **info)

    @staticmethod
    def available():
        return None

    def _run(self, image):
        self.num_runs += 1
        quarters = image.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)).reshape(4, 3) / 255
        logits = np.concatenate((np.zeros((4, 1)), 8 * quarters - 4), axis=1)
        heads = RawHeads(logits.astype(np.float32), np.zeros((4, 4), np.float32))
        heads = self.change(heads)
        return heads.logits, heads.offsets

    def _close(self):
        pass


def png(*colours):
    """Draw four quarters, RGB."""
    small = np.array(colours, np.uint8).reshape(2, 2, 3)
    return cv2.imencode('.png', small.repeat(8, axis=0).repeat(8, axis=1)[..., ::-1])[1].tobytes()


BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)
IMAGES = {
    'golden/empty.png': png(BLACK, BLACK, BLACK, BLACK),
    'golden/two.png': png(RED, BLACK, BLACK, BLUE),
}


@pytest.fixture
def make(tmp_path):
    """Make a bundle with golden frames, as a sound engine sees them."""

    def make(images, **changes):
        files = {'network': b'', **images}
        manifest = Manifest(
            schema=1,
            name='quarters',
            version='1',
            spec=SPEC,
            num_priors=4,
            prior_digest=prior_digest(SPEC),
            files=file_entries(files),
            artefacts=(Artefact('network', 'quarters', 'fp32'),),
            thresholds=Thresholds(0.4),
        )
        path = tmp_path / 'quarters.mnssd'
        write_bundle(path, manifest, files)
        detector = Detector(QuartersEngine(), Thresholds(0.4))
        golden = []
        for name, content in images.items():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            found = detector.detect(image)
            golden.append(
                GoldenFrame(
                    name,
                    0.4,
                    tuple(map(tuple, found.boxes.tolist())),
                    tuple(found.scores.tolist()),
                    tuple(found.labels.tolist()),
                )
            )
        write_bundle(path, replace(manifest, golden=tuple(golden), **changes), files)
        return open_bundle(path)

    return make


@pytest.fixture(autouse=True)
def _an_installed_version(monkeypatch):
    """Cache as an installation does, also where tests run from a source tree alone."""
    monkeypatch.setattr('mnssd_perception.self_test.version', lambda name: '1.0')


@pytest.fixture
def bundle(make):
    """Make a bundle with a frame of nothing and one of two objects."""
    return make(IMAGES)


def logits(function):
    """Change the logits alone."""
    return lambda heads: RawHeads(function(heads.logits.copy()), heads.offsets)


def offsets(shift):
    """Move all boxes."""
    return lambda heads: RawHeads(heads.logits, heads.offsets + np.float32(shift))


def everything_is_a_car(array):
    array[:, 1] = 9
    return array


def nothing_is_anything(array):
    array[:, 0] = 9
    return array


def swap_classes(array):
    return array[:, [0, 3, 2, 1]]


def add_bus(array):
    array[1, 3] = 4
    return array


def test_without_golden_frames_nothing_runs(make):
    engine = QuartersEngine()
    assert run_self_test(make({}), engine) == 0
    assert engine.num_runs == 0


def test_a_sound_engine_passes(bundle):
    engine = QuartersEngine()
    assert run_self_test(bundle, engine) == 2
    assert engine.num_runs == 2


@pytest.mark.parametrize('colour', [BLACK, (118, 0, 0)])  # nothing, and a car close to 0.4
def test_a_test_without_clear_detections_is_not_cached(make, tmp_path, colour):
    bundle = make({'golden/dull.png': png(colour, BLACK, BLACK, BLACK)})
    assert sum(len(frame.scores) for frame in bundle.manifest.golden) == int(colour != BLACK)
    for _ in range(2):
        blind = QuartersEngine(logits(nothing_is_anything))
        assert run_self_test(bundle, blind, tmp_path / 'cache') == 0
        assert blind.num_runs == 1
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize(('precision', 'num_clear'), [('fp32', 2), ('int8', 1)])
def test_only_detections_that_must_be_found_count(make, precision, num_clear):
    # Two scores: 0.94 and 0.55.
    bundle = make({'golden/two.png': png(RED, BLACK, BLACK, (135, 0, 0))})
    engine = QuartersEngine(precision=precision)
    assert run_self_test(bundle, engine) == num_clear


@pytest.mark.parametrize(
    'change', [logits(lambda array: array * 1.01), offsets([0.3, 0.2, 0.1, -0.1])]
)
def test_small_differences_pass(bundle, change):
    run_self_test(bundle, QuartersEngine(change))


@pytest.mark.parametrize(
    ('change', 'frame', 'reason'),
    [
        (
            logits(everything_is_a_car),
            'golden/two.png',
            'got 4; over all frames 1 of 2 clear ones are missing',
        ),
        (
            logits(nothing_is_anything),
            'golden/two.png',
            'expected 2 detections, got 0; over all frames 2 of 2 clear ones are missing',
        ),
        (
            logits(swap_classes),
            'golden/two.png',
            'got 2; over all frames 2 of 2 clear ones are missing',
        ),
        (logits(add_bus), 'golden/empty.png', '2 of 4 clear ones are unexpected'),
        (
            logits(lambda array: array / 2),
            'golden/two.png',
            'scores with a mean difference of at most 0.010 over all frames, got 0.*for 2',
        ),
        (offsets([3.0, 0.0, 0.0, 0.0]), 'golden/two.png', 'are missing'),
        (logits(lambda array: array * np.nan), 'golden/empty.png', 'expected finite logits'),
    ],
)
def test_a_wrong_engine_is_refused(bundle, change, frame, reason):
    with pytest.raises(SelfTestError, match=reason) as caught:
        run_self_test(bundle, QuartersEngine(change))
    error = caught.value
    assert (error.bundle, error.frame) == (bundle.path, frame)
    assert error.engine == 'quarters 1, fp32, paper'
    assert all(str(part) in str(error) for part in (error.bundle, error.frame, error.engine))


def test_an_engine_that_fails_is_refused(bundle):
    def fail(heads):
        raise EngineError('out of luck')

    with pytest.raises(SelfTestError, match='out of luck'):
        run_self_test(bundle, QuartersEngine(fail))


@pytest.mark.parametrize('content', [b'', b'not an image'])
def test_a_golden_frame_that_is_not_an_image_is_refused(bundle, make, content, monkeypatch):
    monkeypatch.setattr('mnssd_perception.bundle.Bundle.read', lambda *_: content)
    with pytest.raises(SelfTestError, match=r"failed at 'golden/empty\.png'"):
        run_self_test(bundle, QuartersEngine())


def test_a_golden_frame_that_is_too_large_is_not_decoded(bundle, monkeypatch):
    large = cv2.imencode('.png', np.zeros((8193, 4096), np.uint8))[1].tobytes()
    monkeypatch.setattr('mnssd_perception.bundle.Bundle.read', lambda *_: large)
    monkeypatch.setattr('mnssd_perception.self_test.decode_image', None)
    with pytest.raises(SelfTestError, match='at most 33554432 pixels, got 4096x8193'):
        run_self_test(bundle, QuartersEngine())


@pytest.mark.parametrize('precision', [*PRECISIONS, 'unheard of'])
def test_a_wrong_engine_is_refused_in_every_precision(bundle, precision):
    for change in (everything_is_a_car, nothing_is_anything, swap_classes):
        with pytest.raises(SelfTestError):
            run_self_test(bundle, QuartersEngine(logits(change), precision=precision))


# The comparison.


def frame(*rows, threshold=0.4):
    """Make a golden frame of (x, y, width, height, score, label)."""
    boxes = tuple((x, y, x + width, y + height) for x, y, width, height, *_ in rows)
    return GoldenFrame(
        'frame', threshold, boxes, tuple(row[4] for row in rows), tuple(row[5] for row in rows)
    )


def found(*rows):
    made = frame(*rows, threshold=0.01)
    return Detections(
        np.array(made.boxes, np.float32).reshape(-1, 4),
        np.array(made.scores, np.float32),
        np.array(made.labels, np.int64),
    )


def difference(expected, actual, tolerance=FP32, max_detections=100):
    """Compare one frame and say in words what differs."""
    compared = compare_detections(expected, actual, tolerance, max_detections)
    found = find_difference([compared], tolerance)
    return found and found[1]


CAR, VAN = (0.0, 0.0, 10.0, 10.0, 0.9, 0), (50.0, 0.0, 10.0, 10.0, 0.8, 1)


@pytest.mark.parametrize(
    ('expected', 'actual'),
    [
        ([], []),
        ([], [(0.0, 0.0, 10.0, 10.0, 0.44, 0)]),  # close to the threshold
        ([(0.0, 0.0, 10.0, 10.0, 0.44, 0)], []),
        ([CAR, VAN], [CAR, VAN]),
        ([CAR], [(0.5, 0.0, 10.0, 10.0, 0.86, 0)]),
        # The order may change.
        ([CAR, (50.0, 0.0, 10.0, 10.0, 0.89, 0)], [(50.0, 0.0, 10.0, 10.0, 0.9, 0), CAR]),
        # Each takes the one that overlaps it most.
        ([CAR, (1.0, 0.0, 10.0, 10.0, 0.9, 0)], [(1.0, 0.0, 10.0, 10.0, 0.9, 0), CAR]),
    ],
)
def test_detections_within_the_tolerance(expected, actual):
    assert difference(frame(*expected), found(*actual)) is None


@pytest.mark.parametrize(
    ('expected', 'actual', 'words'),
    [
        ([], [CAR], 'unexpected'),
        ([CAR], [], 'missing'),
        ([CAR], [CAR, CAR], 'unexpected'),  # one to one
        ([CAR, CAR], [CAR], 'missing'),
        ([CAR], [(0.0, 0.0, 10.0, 10.0, 0.9, 1)], 'missing'),
        ([CAR], [(0.0, 0.0, 10.0, 10.0, 0.8, 0)], 'scores with a mean difference'),
        ([CAR], [(2.0, 0.0, 10.0, 10.0, 0.9, 0)], 'missing'),
        ([CAR, VAN], [(1.5, 0.0, 10.0, 10.0, 0.9, 0), VAN], 'boxes with a mean 1 - IoU'),
    ],
)
def test_detections_outside_the_tolerance(expected, actual, words):
    assert words in difference(frame(*expected), found(*actual))


def test_the_tolerated_share_may_be_unmatched():
    rows = [(50.0 * n, 0.0, 10.0, 10.0, 0.9, 0) for n in range(8)]
    loose = replace(FP32, unmatched=0.25)
    assert difference(frame(*rows), found(*rows[2:]), loose) is None
    assert 'missing' in difference(frame(*rows), found(*rows[3:]), loose)
    assert difference(frame(*rows[2:]), found(*rows), loose) is None
    assert 'unexpected' in difference(frame(*rows[3:]), found(*rows), loose)


def test_shares_and_means_are_those_of_all_frames():
    rows = [(50.0 * n, 0.0, 10.0, 10.0, 0.9, 0) for n in range(9)]
    other_scores = [(*row[:4], 0.8, 0) for row in rows]
    tolerance = Tolerance(0.1, 0.5, unmatched=0.2, mean_score=0.05, mean_iou=0.5)

    def compare(*pairs):
        compared = [
            compare_detections(replace(frame(*one), path=str(index)), found(*two), tolerance, 100)
            for index, (one, two) in enumerate(pairs)
        ]
        return find_difference(compared, tolerance)

    assert compare() is None
    # Two of two are missing in one frame, and two of eleven in both.
    assert compare((rows[:2], [])) is not None
    assert compare((rows[:2], []), (rows, rows)) is None
    assert compare((rows, rows), (rows[:3], []))[0] == '1'
    # The mean difference of scores is 0.1 in one frame, and half of that in both.
    assert compare((rows, other_scores)) is not None
    assert compare((rows, rows), (rows[:8], other_scores[:8])) is None
    assert compare((rows[:4], rows[:4]), (rows, other_scores))[0] == '1'


def test_one_of_few_detections_may_be_lost_where_shares_are_tolerated():
    assert difference(frame(CAR, VAN), found(CAR), TOLERANCES['int8']) is None
    assert difference(frame(CAR, VAN), found(), TOLERANCES['int8']) is not None
    assert difference(frame(CAR, VAN), found(CAR), TOLERANCES['fp16']) is not None


@pytest.mark.parametrize(
    ('precision', 'expected'),
    [('int8+fp32', 'int8'), ('fp32+bf16', 'bf16'), ('bf16', 'bf16'), ('', 'fp32'), ('x', 'fp32')],
)
def test_tolerance_of_a_mixed_precision_is_the_coarsest(precision, expected):
    assert choose_tolerance(precision) is TOLERANCES[expected]


def test_tolerance_grows_as_the_precision_falls():
    order = list(TOLERANCES.values())
    for finer, coarser in zip(order, order[1:]):
        assert finer.margin <= coarser.margin
        assert finer.iou >= coarser.iou
        assert finer.unmatched <= coarser.unmatched
        assert finer.mean_score <= coarser.mean_score
        assert finer.mean_iou >= coarser.mean_iou
    assert set(TOLERANCES) == set(PRECISIONS)


def test_a_full_set_is_compared_down_to_its_lowest_score():
    # Only two are reported: which of two alike is the second may differ.
    one, other = (50.0, 0.0, 10.0, 10.0, 0.7, 0), (80.0, 0.0, 10.0, 10.0, 0.71, 0)
    assert difference(frame(CAR, one), found(CAR, other), max_detections=2) is None
    assert 'missing' in difference(frame(CAR, one), found(CAR, other), max_detections=3)
    # A full set that is clearly better than what was expected is wrong all the same.
    better = [(90.0 * n, 0.0, 10.0, 10.0, 1.0, 0) for n in (1, 2)]
    assert 'unexpected' in difference(frame(CAR), found(*better), max_detections=2)
    assert 'unexpected' in difference(frame(CAR, VAN), found(*better), max_detections=2)


# What was passed is remembered.


def test_a_passed_test_is_not_run_again(bundle, tmp_path):
    for num_runs in (2, 0):
        engine = QuartersEngine()
        assert run_self_test(bundle, engine, tmp_path / 'cache') == 2
        assert engine.num_runs == num_runs


@pytest.mark.parametrize(
    'other', [{'version': '2'}, {'name': 'other'}, {'device': 'stone'}, {'precision': 'fp16'}]
)
def test_another_engine_is_tested_anew(bundle, tmp_path, other):
    run_self_test(bundle, QuartersEngine(), tmp_path)
    engine = QuartersEngine(**other)
    run_self_test(bundle, engine, tmp_path)
    assert engine.num_runs == 2


def test_what_was_built_anew_on_this_machine_is_tested_anew(bundle, tmp_path):
    for build, num_runs in (('a', 2), ('a', 0), ('b', 2)):
        engine = QuartersEngine()
        engine.build = build
        run_self_test(bundle, engine, tmp_path)
        assert engine.num_runs == num_runs


def test_another_bundle_is_tested_anew(bundle, make, tmp_path):
    run_self_test(bundle, QuartersEngine(), tmp_path / 'cache')
    engine = QuartersEngine()
    run_self_test(make(IMAGES, version='2'), engine, tmp_path / 'cache')
    assert engine.num_runs == 2


def test_another_version_of_mnssd_tests_anew(bundle, tmp_path, monkeypatch):
    run_self_test(bundle, QuartersEngine(), tmp_path)
    monkeypatch.setattr('mnssd_perception.self_test.version', lambda _: '99')
    engine = QuartersEngine()
    run_self_test(bundle, engine, tmp_path)
    assert engine.num_runs == 2


ARM = 'processor : 0\nCPU implementer : 0x41\nCPU part\t: 0xd4{}\nBogoMIPS : {}\n'


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (ARM.format('1', '38.4'), ARM.format('2', '38.4')),
        ('model name\t: Intel N100\ncpu MHz : 1\n', 'model name\t: Intel N200\ncpu MHz : 1\n'),
        ('model name\t: Intel N100\n', None),
    ],
)
def test_another_processor_tests_anew(bundle, tmp_path, monkeypatch, before, after):
    cpu_info = tmp_path / 'cpuinfo'
    monkeypatch.setattr('mnssd_perception.self_test.CPU_INFO', cpu_info)
    for content, num_runs in ((before, 2), (before, 0), (after, 2), (after, 0)):
        cpu_info.unlink(missing_ok=True)
        if content is not None:
            cpu_info.write_text(content)
        engine = QuartersEngine()
        run_self_test(bundle, engine, tmp_path / 'cache')
        assert engine.num_runs == num_runs


def test_replaced_runtime_of_the_same_version_tests_anew(bundle, tmp_path, monkeypatch):
    """A package, a driver or a container can bring another file under the same version."""
    mappings, runtime = tmp_path / 'maps', tmp_path / 'lib nvinfer' / 'libnvinfer.so.10'
    other = tmp_path / 'libother.so'
    runtime.parent.mkdir()
    monkeypatch.setattr('mnssd_perception.self_test.MAPPINGS', mappings)
    for file in (runtime, other):
        file.write_bytes(b'code')
    mappings.write_text(
        '7f00-7f01 r--p 00000000 00:00 0\n'
        f'7f01-7f02 r-xp 00000000 08:01 11    {runtime}\n'
        f'7f02-7f03 r-xp 00000000 08:01 12    {other}\n'
        '7f03-7f04 r-xp 00000000 08:01 13    /gone/libcudart.so (deleted)\n'
    )
    for changed, num_runs in ((None, 2), (None, 0), (other, 0), (runtime, 2), (None, 0)):
        if changed is not None:
            changed.write_bytes(b'other code')
        engine = QuartersEngine()
        run_self_test(bundle, engine, tmp_path / 'cache')
        assert engine.num_runs == num_runs


def test_loaded_runtime_is_found_in_the_mappings_of_this_process():
    pytest.importorskip('onnxruntime')
    nothing = self_test._runtimes_digest(Path('/dev/null'))
    if not self_test.MAPPINGS.exists():
        pytest.skip('this system has no /proc')
    open_engine(open_bundle(shipped_bundle_path()), 'onnxruntime').close()
    assert self_test._runtimes_digest(self_test.MAPPINGS) != nothing


def test_another_kernel_tests_anew(bundle, tmp_path, monkeypatch):
    run_self_test(bundle, QuartersEngine(), tmp_path / 'cache')
    monkeypatch.setattr('platform.release', lambda: '99')
    engine = QuartersEngine()
    run_self_test(bundle, engine, tmp_path / 'cache')
    assert engine.num_runs == 2


def test_the_same_processor_at_another_clock_does_not(bundle, tmp_path, monkeypatch):
    cpu_info = tmp_path / 'cpuinfo'
    monkeypatch.setattr('mnssd_perception.self_test.CPU_INFO', cpu_info)
    for clock, num_runs in (('38.4', 2), ('19.2', 0)):
        cpu_info.write_text(ARM.format('1', clock) * 4)
        engine = QuartersEngine()
        run_self_test(bundle, engine, tmp_path / 'cache')
        assert engine.num_runs == num_runs


@pytest.mark.parametrize('library', ['numpy', 'cv2'])
def test_another_version_of_a_library_tests_anew(bundle, tmp_path, monkeypatch, library):
    run_self_test(bundle, QuartersEngine(), tmp_path / 'cache')
    monkeypatch.setattr(f'{library}.__version__', '99.0')
    engine = QuartersEngine()
    run_self_test(bundle, engine, tmp_path / 'cache')
    assert engine.num_runs == 2


@pytest.mark.parametrize(
    'name', ['ssd/nms.py', 'engines/open.py', 'image_file.py', 'detector.py', 'self_test.py']
)
def test_another_source_of_the_same_version_tests_anew(bundle, tmp_path, monkeypatch, name):
    package = tmp_path / 'package'
    shutil.copytree(self_test.PACKAGE / 'ssd', package / 'ssd')
    shutil.copytree(self_test.PACKAGE / 'engines', package / 'engines')
    for file in ('image_file.py', 'detector.py', 'self_test.py', 'text.py'):
        shutil.copy(self_test.PACKAGE / file, package)
    monkeypatch.setattr('mnssd_perception.self_test.PACKAGE', package)
    for changed, num_runs in ((None, 2), ('text.py', 0), (name, 2), (None, 0)):
        if changed:
            (package / changed).write_text('# rebuilt\n')
        engine = QuartersEngine()
        run_self_test(bundle, engine, tmp_path / 'cache')
        assert engine.num_runs == num_runs


def test_a_failed_test_is_run_again(bundle, tmp_path):
    for _ in range(2):
        with pytest.raises(SelfTestError):
            run_self_test(bundle, QuartersEngine(logits(swap_classes)), tmp_path)


@pytest.mark.parametrize('content', [b'', b'\xff\xfe', b'{}', None])
def test_a_damaged_cache_counts_as_none(bundle, tmp_path, content):
    run_self_test(bundle, QuartersEngine(), tmp_path)
    (path,) = tmp_path.glob('self_test/*')
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    engine = QuartersEngine()
    run_self_test(bundle, engine, tmp_path)
    assert engine.num_runs == 2


def test_a_cache_that_cannot_be_written_is_no_error(bundle, tmp_path):
    (tmp_path / 'cache').write_text('a file in place of the folder')
    for _ in range(2):
        engine = QuartersEngine()
        run_self_test(bundle, engine, tmp_path / 'cache')
        assert engine.num_runs == 2


def test_a_crash_while_writing_the_cache_does_not_count_as_passed(bundle, tmp_path, monkeypatch):
    run_self_test(bundle, QuartersEngine(), tmp_path)
    assert len(list(tmp_path.glob('self_test/*.json'))) == 1
    monkeypatch.setattr('pathlib.Path.replace', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a crash between writing and moving
        run_self_test(bundle, QuartersEngine(version='2'), tmp_path)
    monkeypatch.undo()
    engine = QuartersEngine(version='2')
    run_self_test(bundle, engine, tmp_path)
    assert engine.num_runs == 2


# The shipped bundle.


@pytest.mark.parametrize('precision', ['fp32', 'int8'])
@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_the_shipped_bundle_passes(name, precision):
    pytest.importorskip(name)
    bundle = open_bundle(shipped_bundle_path())
    engine = open_engine(bundle, name, EngineOptions(threads=1), precision)
    assert bundle.manifest.golden
    run_self_test(bundle, engine)
    engine.close()


def scale_weights(network, **factors):
    """Multiply the initializers of an ONNX network whose names end so."""
    onnx = pytest.importorskip('onnx')
    model = onnx.load_from_string(network)
    for end, factor in factors.items():
        (tensor,) = (item for item in model.graph.initializer if item.name.endswith(end))
        array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model.SerializeToString()


HEAD = 'levels.0.1.weight'


@pytest.mark.parametrize(
    ('factors', 'is_refused'),
    [
        ({}, False),
        ({'.mean': 0}, True),
        ({'.mean': 0, '.scale': 1 / (255 * 0.0174)}, True),
        ({f'.logits.{HEAD}': 0}, True),
        ({f'.offsets.{HEAD}': 0}, True),
    ],
    ids=['sound', 'mean', 'scale', 'class head', 'box head'],
)
def test_damaged_network_is_refused_in_every_precision(factors, is_refused):
    pytest.importorskip('onnxruntime')
    bundle = open_bundle(shipped_bundle_path())
    artefact = bundle.artefact('onnxruntime', 'fp32')
    network = scale_weights(bundle.read(artefact.path), **factors)
    engine = OnnxRuntimeEngine(bundle.manifest.spec, network, EngineOptions(threads=1))
    for precision in PRECISIONS:
        engine.info = replace(engine.info, precision=precision)
        if is_refused:
            with pytest.raises(SelfTestError, match='at most|clear ones are'):
                run_self_test(bundle, engine)
        else:
            run_self_test(bundle, engine)
    engine.close()
