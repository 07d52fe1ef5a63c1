"""Tests of the Hailo engine, on a fake with the recorded surface and traps of HailoRT."""

from dataclasses import replace
import importlib
import inspect
from io import BytesIO
import os
import subprocess
import sys

from fake_hailo_platform import installed, make_header, recorded, run_network, VERSIONS, write_hef
from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    Manifest,
    open_bundle,
    write_bundle,
)
from mnssd_perception.engines import EngineOptions, FallbackEngine, hailo_engine
from mnssd_perception.engines import open_engine as open_best
from mnssd_perception.engines.hailo_engine import HailoEngine
from mnssd_perception.engines.head_maps import list_head_maps
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.ssd import feature_map, ModelSpec, prior_digest
import numpy as np
import pytest

SIZE = (32, 48)
LEVELS = (feature_map(SIZE, 8, ((8.0, 8.0), (9.0, 6.0))), feature_map(SIZE, 32, ((30.0, 30.0),)))
SPEC = ModelSpec(SIZE, ('a', 'b'), LEVELS)
THREE_CLASSES = replace(SPEC, class_names=('a', 'b', 'c'))


@pytest.fixture(params=VERSIONS)
def device(request):
    with installed(request.param) as device:
        yield device


@pytest.fixture
def one_device():
    with installed(VERSIONS[-1]) as device:
        yield device


def describe(spec=SPEC):
    """List the outputs of a HEF for a specification, shuffled and renamed as a compiler does."""
    outputs = [
        {
            'name': f'mnssd/conv{40 - index}',
            'shape': list(item.shape),
            'original_names': [item.name],
            'quantisation': [(100.0 + index, 0.03 * (index + 1))],
        }
        for index, item in enumerate(list_head_maps(spec))
    ]
    return outputs[::-1]


def make_hef(spec=SPEC, outputs=None, **changes):
    outputs = describe(spec) if outputs is None else outputs
    header = make_header((*spec.input_size, 3), outputs, **changes)
    rng = np.random.default_rng(0)
    matrices = {
        output['name']: rng.normal(0, 0.01, (3, output['shape'][-1])).astype(np.float32)
        for output in outputs
    }
    content = BytesIO()
    np.savez(content, **matrices)
    return write_hef(header, content.getvalue()), header, content.getvalue()


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def expected_heads(spec, header, network, image):
    """Join the maps to raw heads with transposed loops, the slow and obvious way."""
    values = run_network(header, network, image)
    by_name = {output['original_names'][0]: output for output in header['outputs']}
    heads = []
    for head, columns in (('logits', spec.num_classes + 1), ('offsets', 4)):
        rows = []
        for index, level in enumerate(spec.feature_maps):
            output = by_name[f'{head}_{index}']
            top = 255 if output.get('type', 'UINT8') == 'UINT8' else 65535
            zero_points, scales = np.float32(output['quantisation']).T
            q = np.clip(np.round(values[output['name']] / scales + zero_points), 0, top)
            real = ((q - zero_points) * scales).reshape(*level.shape, -1)
            for y in range(level.shape[0]):
                for x in range(level.shape[1]):
                    for prior in range(len(level.sizes)):
                        rows.append(real[y, x, prior * columns : (prior + 1) * columns])
        heads.append(np.array(rows, np.float32))
    return heads


def check(engine, spec, header, network, image):
    heads = engine.infer(image)
    logits, offsets = expected_heads(spec, header, network, image)
    assert np.ptp(logits) > 0.5
    np.testing.assert_allclose(heads.logits, logits, atol=1e-5)
    np.testing.assert_allclose(heads.offsets, offsets, atol=1e-5)
    assert heads.logits.dtype == heads.offsets.dtype == np.float32


def open_engine(hef, spec=SPEC, **options):
    return HailoEngine(spec, hef, EngineOptions(**options), 'int8')


def test_an_empty_batch(device):
    engine = open_engine(make_hef()[0])
    assert engine.infer_batch(np.zeros((0, *SIZE, 3), np.uint8)) == []
    assert device.jobs == []


def test_heads(device):
    hef, *network = make_hef()
    engine = open_engine(hef)
    for seed in range(5):
        check(engine, SPEC, *network, picture(seed))
    assert all(job.was_waited_for for job in device.jobs)
    assert str(engine.info).startswith('hailo ')
    assert engine.info.device == 'hailo8l'


def test_16_bit_outputs_and_scales_per_channel(one_device):
    outputs = describe()
    for output in outputs:
        if output['original_names'][0].startswith('offsets'):
            output.update(type='UINT16', quantisation=[(30000.0, 0.0002)])
        else:
            channels = output['shape'][-1]
            output['quantisation'] = [(90.0 + i, 0.02 + 0.01 * i) for i in range(channels)]
    hef, *network = make_hef(outputs=outputs)
    check(open_engine(hef), SPEC, *network, picture())


def test_a_level_of_one_cell_may_have_a_flat_shape(one_device):
    spec = replace(SPEC, feature_maps=(LEVELS[0], replace(LEVELS[1], shape=(1, 1))))
    outputs = describe(spec)
    for output in outputs:
        if output['original_names'][0].endswith('_1'):
            output.update(shape=output['shape'][-1:], order='NC')
    hef, *network = make_hef(spec, outputs)
    check(open_engine(hef, spec), spec, *network, picture())


def test_batches_keep_two_frames_in_flight(device):
    hef, *network = make_hef()
    engine = open_engine(hef)
    images = np.stack([picture(seed) for seed in range(7)])
    for heads, image in zip(engine.infer_batch(images), images, strict=True):
        logits, offsets = expected_heads(SPEC, *network, image)
        np.testing.assert_allclose(heads.logits, logits, atol=1e-5)
        np.testing.assert_allclose(heads.offsets, offsets, atol=1e-5)
    assert len(device.jobs) == 7
    assert all(job.was_waited_for for job in device.jobs)
    device.max_in_flight = 0
    engine.infer(picture())
    assert device.max_in_flight == 1


def test_the_second_frame_is_submitted_before_the_first_one_is_done(one_device):
    engine = open_engine(make_hef()[0])
    one_device.running.clear()
    submitted = []
    submit = hailo_engine._Request.submit

    def submit_and_release(request, image):
        submit(request, image)
        submitted.append(one_device.in_flight)
        if len(submitted) == 2:
            one_device.running.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hailo_engine._Request, 'submit', submit_and_release)
        engine.infer_batch(np.stack([picture(), picture(1)]))
    assert submitted == [1, 2]


@pytest.mark.parametrize(
    'view',
    [lambda image: image[::-1], lambda image: image[..., ::-1], np.asfortranarray],
    ids=['upside down', 'bgr', 'fortran'],
)
def test_views_and_read_only_images(one_device, view):
    hef, *network = make_hef()
    image = view(picture())
    image.flags.writeable = False
    check(open_engine(hef), SPEC, *network, image)


def test_the_input_begins_at_a_page(one_device):
    engine = open_engine(make_hef()[0])
    for request in engine._requests:
        assert request._image.ctypes.data % 4096 == 0
        assert request._image.flags.c_contiguous


def test_three_classes_are_told_apart_by_the_names_in_onnx(one_device):
    outputs = describe(THREE_CLASSES)
    assert outputs[0]['shape'] == outputs[2]['shape']  # logits and offsets of one level
    hef, *network = make_hef(THREE_CLASSES, outputs)
    engine = open_engine(hef, THREE_CLASSES)
    check(engine, THREE_CLASSES, *network, picture())
    engine.close()
    for output in outputs:
        output['original_names'] = ['Conv_7']
    hef, header, network = make_hef(THREE_CLASSES, outputs)
    with pytest.raises(EngineError, match="called 'logits_0' in ONNX, got .*Conv_7"):
        open_engine(hef, THREE_CLASSES)
    assert one_device.vdevices == []


def test_unambiguous_outputs_need_no_names(one_device):
    outputs = [{**output, 'original_names': []} for output in describe()]
    assert open_engine(make_hef(outputs=outputs)[0]).infer(picture()).logits.any()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda outputs: outputs.pop(), 'expected a network with the outputs'),
        (lambda outputs: outputs.append({**outputs[0], 'name': 'x'}), "called 'offsets_1'"),
        (lambda outputs: outputs[0].update(shape=[9, 9, 9]), r'got .*\(9, 9, 9\)'),
        (lambda outputs: outputs[0].update(type='FLOAT32'), 'expected 8 or 16 bit values'),
        (lambda outputs: outputs[1].update(quantisation=[(0, 1)] * 2), 'with 2'),
        (lambda outputs: outputs[0].update(order='HAILO_NMS_BY_CLASS'), 'without nms_postproc'),
    ],
)
def test_networks_of_another_specification_are_refused(one_device, change, message):
    outputs = describe()
    change(outputs)
    with pytest.raises(EngineError, match=message):
        open_engine(make_hef(outputs=outputs)[0])
    assert one_device.vdevices == []


def test_an_input_of_another_size_is_refused(one_device):
    with pytest.raises(EngineError, match=r'one input of shape \(32, 48, 3\), got 1.*\(8, 8, 3\)'):
        open_engine(make_hef(replace(SPEC, input_size=(8, 8)))[0])


@pytest.mark.parametrize('quantisation', [(0, 1 / 255), (117.0, 0.018), (0, 0.9), (10, 1)])
def test_a_network_compiled_without_normalisation_or_for_another_range_is_refused(
    one_device, quantisation
):
    with pytest.raises(EngineError, match='pixels of 0 to 255 and normalises them itself, got'):
        open_engine(make_hef(input_quantisation=quantisation)[0])


def test_a_network_for_another_chip_is_refused(device):
    hef = make_hef(arch='HAILO10H')[0]
    with pytest.raises(EngineError, match='another chip; compile it with --arch for hailo8l'):
        open_engine(hef)
    assert device.vdevices == []
    assert device.events[-1] == 'vdevice released'


def test_a_network_for_a_smaller_chip_runs(one_device):
    one_device.architecture = 1
    assert open_engine(make_hef()[0]).info.device == 'hailo8'


def test_a_chip_newer_than_hailort_has_no_name(one_device):
    one_device.architecture = 99  # a ValueError of identify()
    hailo = sys.modules['hailo_platform']
    assert hailo_engine._device_architecture(hailo) == 'a Hailo device'
    assert one_device.events == ['device opened', 'device released']


@pytest.mark.parametrize(
    ('network', 'message'),
    [
        (b'', 'not a HEF, or cut short'),
        (b'\x01HEF' + b'x' * 100, 'not a HEF, or cut short'),
        (b'not a HEF at all' * 10, 'not a HEF, or of a compiler that HailoRT'),
    ],
)
def test_other_data_are_refused_as_a_network(device, network, message):
    with pytest.raises(EngineError, match=message):
        open_engine(network)
    assert device.vdevices == []


def test_subclasses_of_bytes_are_taken_for_a_network(one_device):
    # pyhailort takes all but bytes itself for a path.
    network = type('Content', (bytes,), {})(make_hef()[0])
    assert open_engine(network).infer(picture()).logits.any()
    assert open_engine(bytearray(make_hef()[0])).infer(picture()).logits.any()


def test_a_failed_frame_is_an_error_although_waiting_succeeds(device):
    engine = open_engine(make_hef()[0])
    engine.infer(picture())
    device.failures.append(63)
    with pytest.raises(EngineError, match="engine 'hailo' failed: HAILO_STREAM_ABORT"):
        engine.infer(picture())
    assert device.jobs[-1].was_waited_for  # without an error
    for _ in range(2):
        with pytest.raises(EngineError, match='stopped after an error: .*; open it again'):
            engine.infer(picture())
    assert len(device.jobs) == 2
    engine.close()


def test_a_failed_frame_of_a_batch_is_an_error(one_device):
    engine = open_engine(make_hef()[0])
    one_device.failures.extend([0, 0, 63])
    with pytest.raises(EngineError, match='HAILO_STREAM_ABORT'):
        engine.infer_batch(np.stack([picture()] * 5))
    engine.close()
    assert all(job.was_waited_for for job in one_device.jobs)


def test_a_frame_that_takes_too_long_is_an_error(device, monkeypatch):
    monkeypatch.setattr(hailo_engine, 'TIMEOUT_MS', 20)
    engine = open_engine(make_hef()[0])
    device.running.clear()
    with pytest.raises(EngineError, match='expected a frame within 20 ms, got none'):
        engine.infer(picture())
    device.running.set()  # the late frame must not end up in the next one
    with pytest.raises(EngineError, match='open it again'):
        engine.infer(picture())
    engine.close()


def test_the_timeout_leaves_time_for_another_engine():
    assert 2 * hailo_engine.TIMEOUT_MS <= 1000  # waiting for a job can take twice as long


def test_an_interrupted_wait_stops_the_engine(one_device, monkeypatch):
    engine = open_engine(make_hef()[0])

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hailo_engine._Request, 'finish', interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.infer(picture())
    with pytest.raises(EngineError, match='KeyboardInterrupt; open it again'):
        engine.infer(picture())


def test_closing_waits_for_jobs_then_shuts_down_then_releases(device):
    engine = open_engine(make_hef()[0])
    engine._requests[1].submit(picture())
    assert not device.jobs[0].was_waited_for
    engine.close()
    engine.close()
    assert device.jobs[0].was_waited_for
    assert device.events[-2:] == ['shut down', 'vdevice released']
    assert device.events.count('shut down') == 1
    assert device.vdevices == []
    with pytest.raises(EngineError, match="engine 'hailo' is closed"):
        engine.infer(picture())


def test_a_device_that_hangs_is_released_on_closing(one_device, monkeypatch):
    monkeypatch.setattr(hailo_engine, 'TIMEOUT_MS', 20)
    engine = open_engine(make_hef()[0])
    one_device.running.clear()
    engine._requests[0].submit(picture())
    engine.close()
    assert one_device.vdevices == []


def test_the_scheduler_is_on_whatever_the_default(device):
    engine = open_engine(make_hef()[0])
    (vdevice,) = device.vdevices
    hailo = sys.modules['hailo_platform']
    params = vdevice._params
    assert params.scheduling_algorithm == hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    assert params.group_id == 'SHARED'
    assert not params.multi_process_service
    engine.infer(picture())  # without activate(), which is an error with the scheduler


def test_two_engines_share_the_device(one_device):
    hef, *network = make_hef()
    other_hef, *other = make_hef(THREE_CLASSES)
    first, second = open_engine(hef), open_engine(other_hef, THREE_CLASSES)
    check(first, SPEC, *network, picture())
    check(second, THREE_CLASSES, *other, picture(1))
    first.close()
    check(second, THREE_CLASSES, *other, picture(2))


def test_a_device_in_use_names_the_way_out(one_device):
    hailo = sys.modules['hailo_platform']
    other = hailo.VDevice()  # group UNIQUE, as another process has
    with pytest.raises(EngineError, match='another process uses it; .*share the device'):
        open_engine(make_hef()[0])
    other.release()


def test_sharing_between_processes_needs_the_service(device):
    with pytest.raises(EngineError, match='needs the service: systemctl start hailort'):
        open_engine(make_hef()[0], shared_device=True)
    device.has_service = True
    engine = open_engine(make_hef()[0], shared_device=True)
    assert device.vdevices[0]._params.multi_process_service
    assert engine.infer(picture()).logits.any()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork()')
@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_forked_process_cannot_use_the_engine(one_device):
    engine = open_engine(make_hef()[0])
    child = os.fork()
    if not child:
        try:
            engine.infer(picture())
            os._exit(1)
        except EngineError as error:
            os._exit(0 if 'a forked one cannot use it' in str(error) else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# In a bundle.


@pytest.fixture
def bundle(network, spec, tmp_path):
    """Make a bundle with a network for Hailo and one for ONNX Runtime, of three classes."""
    pytest.importorskip('onnxruntime')
    verdict = GateVerdict(True, (), 'hailo emulator', 1, f'sha256:{"0" * 64}', 0.5, 0.5, 1, 0)
    files = {'network.hef': make_hef(spec)[0], 'network.onnx': network().serialise()}
    manifest = Manifest(
        schema=2,
        name='tiny',
        version='1',
        spec=spec,
        num_priors=spec.num_priors,
        prior_digest=prior_digest(spec),
        files=file_entries(files),
        artefacts=(
            Artefact('network.hef', 'hailo', 'int8', device='hailo8l', gate=verdict),
            Artefact('network.onnx', 'onnxruntime', 'fp32', gate=verdict),
        ),
    )
    write_bundle(tmp_path / 'tiny.mnssd', manifest, files)
    return open_bundle(tmp_path / 'tiny.mnssd')


def test_auto_takes_hailo_where_there_is_a_device(bundle, one_device):
    engine = open_best(bundle)
    assert (engine.info.name, engine.info.precision) == ('hailo', 'int8')
    engine.close()
    one_device.ids = []
    engine = FallbackEngine(bundle)
    assert engine.info.name == 'onnxruntime'
    (rejection,) = engine.rejections
    assert str(rejection).startswith('hailo (int8): no Hailo device found')
    assert not rejection.is_failure


@pytest.mark.parametrize('failure', ['hangs', 'fails'])
def test_a_device_that_stops_is_replaced(bundle, one_device, monkeypatch, failure):
    monkeypatch.setattr(hailo_engine, 'TIMEOUT_MS', 50)
    engine = FallbackEngine(bundle)
    image = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    engine.infer(image)
    if failure == 'hangs':
        one_device.running.clear()
    else:
        one_device.failures.append(63)
    heads = engine.infer(image)
    np.testing.assert_array_equal(heads.logits, image.reshape(24, 4))  # as in conftest
    assert engine.info.name == 'onnxruntime'
    assert engine.rejections[0].is_failure
    assert one_device.vdevices == []
    engine.close()


# Availability.


def test_available(device):
    assert HailoEngine.available() is None
    assert device.vdevices == []


def test_no_device(device):
    device.ids = []
    assert 'no Hailo device found' in HailoEngine.available()
    with pytest.raises(EngineUnavailableError, match='ls /dev/hailo'):
        open_engine(make_hef()[0])


def test_a_scan_that_fails_is_a_reason(one_device):
    one_device.scan_error = RuntimeError('73')
    assert HailoEngine.available() == 'HailoRT fails: 73'


@pytest.mark.parametrize('version', ['4.17.1', '4.19.0', '3.9', '4.20.0', '4.100.0', '5.2.0+x'])
def test_old_versions_are_refused(one_device, monkeypatch, version):
    monkeypatch.setattr(sys.modules['hailo_platform'], '__version__', version)
    is_old = version in ('4.17.1', '4.19.0', '3.9')
    reason = f'expected HailoRT 4.20 or newer, got {version}; upgrade it' if is_old else None
    assert HailoEngine.available() == reason


def test_without_hailort(monkeypatch):
    monkeypatch.setitem(sys.modules, 'hailo_platform', None)
    assert 'docs/hailo.md' in HailoEngine.available()
    with pytest.raises(EngineUnavailableError, match="engine 'hailo' cannot be used here"):
        open_engine(b'')


PARTS = """
import os
seen = os.environ.get('HAILORT_LOGGER_PATH')
raise ImportError(f'_pyhailort version does not match; logs in {seen}')
"""


@pytest.mark.parametrize('setting', [None, '/logs'])
def test_logs_go_nowhere_or_where_the_user_says_before_the_import(tmp_path, setting):
    # HailoRT reads the variable when it is imported, and writes to the working directory.
    (tmp_path / 'hailo_platform.py').write_text(PARTS)
    code = (
        'from mnssd_perception.engines.hailo_engine import HailoEngine as E; print(E.available())'
    )
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}
    environment.pop('HAILORT_LOGGER_PATH', None)
    if setting:
        environment['HAILORT_LOGGER_PATH'] = setting
    command = [sys.executable, '-c', code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f'logs in {setting or "NONE"}; install HailoRT' in run.stdout


# The fake against the recorded surface of HailoRT, and its own traps.


@pytest.mark.parametrize('version', VERSIONS)
def test_the_fake_has_nothing_that_hailort_lacks(version):
    with installed(version):
        module = importlib.import_module('hailo_platform.pyhailort.pyhailort')
        api = recorded(version)['classes']
        fake = {name: getattr(module, name) for name in api if '.' not in name}
        fake['InferModel.InferStream'] = module.InferModel.InferStream
        fake['ConfiguredInferModel.Bindings'] = module.ConfiguredInferModel.Bindings
        fake['ConfiguredInferModel.Bindings.InferStream'] = (
            module.ConfiguredInferModel.Bindings.InferStream
        )
        assert set(fake) == set(api)
        for name, cls in fake.items():
            for member, value in vars(cls).items():
                if (member.startswith('_') and member != '__init__') or inspect.isclass(value):
                    continue
                assert member in api[name], f'{name}.{member}'
                if isinstance(value, property):
                    assert api[name][member] == 'property'
                else:
                    function = getattr(value, '__func__', value)
                    parameters = inspect.signature(function).parameters.values()
                    text = _describe([p for p in parameters if p.name not in ('self', 'cls')])
                    assert text == api[name][member], f'{name}.{member}'


def _describe(parameters):
    texts = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and '*' not in texts:
            texts.append('*')
        default = '' if parameter.default is parameter.empty else f'={parameter.default!r}'
        texts.append(f'{parameter.name}{default}')
    return f'({", ".join(texts)})'


def configure(hef, **params):
    hailo = sys.modules['hailo_platform']
    vdevice_params = hailo.VDevice.create_params()
    for name, value in params.items():
        setattr(vdevice_params, name, value)
    model = hailo.VDevice(vdevice_params).create_infer_model(hef)
    return hailo, model, model.configure()


def bind(model, configured, image=None):
    buffers = {stream.name: np.zeros(stream.shape, np.uint8) for stream in model.outputs}
    bindings = configured.create_bindings(output_buffers=buffers)
    bindings.input().set_buffer(picture() if image is None else image)
    return bindings


def test_traps_of_paths_and_buffers(one_device, tmp_path):
    path = tmp_path / 'model.hef'
    path.write_bytes(make_hef()[0])
    hailo, model, configured = configure(str(path))
    with pytest.raises(ValueError, match='file path'):
        hailo.HEF(path)
    with pytest.raises(TypeError):
        hailo.VDevice.create_infer_model(one_device.vdevices[0], path)
    bindings = bind(model, configured)
    with pytest.raises(hailo.HailoRTException, match='C_CONTIGUOUS'):
        bindings.input().set_buffer(picture()[:, ::-1])
    read_only = picture()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match='not writeable'):
        bindings.input().set_buffer(read_only)
    with pytest.raises(TypeError):
        configured.run_async(bindings)  # not a list
    bindings.input().set_buffer(np.zeros(5, np.uint8))
    with pytest.raises(hailo.HailoRTException):
        configured.run_async([bindings])
    with pytest.raises(hailo.HailoRTException):  # shut down by that error
        configured.wait_for_async_ready()


def test_traps_of_the_scheduler(device):
    hef = make_hef()[0]
    hailo, model, configured = configure(hef)
    algorithms = hailo.HailoSchedulingAlgorithm
    is_old = hailo.__version__.startswith('4.')
    default = hailo.VDevice.create_params().scheduling_algorithm
    assert default == (algorithms.NONE if is_old else algorithms.ROUND_ROBIN)
    bindings = bind(model, configured)
    if is_old:
        with pytest.raises(hailo.HailoRTException, match='NOT_ACTIVATED'):
            configured.run_async([bindings])
        device.vdevices[0].release()
        _, model, configured = configure(hef)
        configured.activate()
        configured.run_async([bind(model, configured)]).wait(1000)
    else:
        with pytest.raises(hailo.HailoRTException, match='INVALID_OPERATION'):
            configured.activate()


def test_traps_of_jobs(one_device):
    hailo, model, configured = configure(make_hef()[0])
    configured.run_async([bind(model, configured)], callback=lambda completion_info: None).wait(99)
    one_device.failures.append(63)
    errors = []
    job = configured.run_async(
        [bind(model, configured)],
        callback=lambda completion_info: errors.append(completion_info.exception),
    )
    job.wait(1000)  # no error
    assert isinstance(errors[0], hailo.pyhailort.pyhailort.HailoRTStreamAborted)
    with pytest.raises(hailo.HailoRTException):  # the model is shut down
        configured.run_async([bind(model, configured)])


def test_traps_of_formats_and_parameters(one_device):
    hailo, model, configured = configure(make_hef()[0])
    model.outputs[0].set_format_type(hailo.FormatType.FLOAT32)  # too late: no effect, no error
    configured.run_async([bind(model, configured)]).wait(1000)
    with pytest.raises(AttributeError):
        hailo.VDevice.create_params().scheduler = 'on'
    with pytest.raises(hailo.HailoRTException, match='HAILO_TIMEOUT|TIMEOUT'):
        configured.wait_for_async_ready(timeout_ms=1, frames_count=99)
