"""
Time the networks of a bundle beside those of others, in the same runtimes and in turns.

Only the inference is timed, on random images. Every runtime gets the same settings: so many
threads, no busy waiting between frames, no pinned threads. Networks of others are ONNX files,
which other programs write: none of them is imported here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path
from typing import Any

from mnssd_perception.benchmark import find_candidates
from mnssd_perception.bundle import Bundle
from mnssd_perception.commands import format_table
from mnssd_perception.engines import EngineOptions, open_engine
from mnssd_perception.engines.openvino_engine import open_core
from mnssd_perception.errors import MnssdError
import numpy as np
import onnxruntime
import openvino

from benchmarks.ssdlite_onnx import export_ssdlite
from benchmarks.timing import measure, Timing

PAUSE = 0.1  # between two networks, until the threads of the last one sleep [s]
CPU_ENGINES = ('onnxruntime', 'openvino')
NUMPY_TYPES = {'tensor(uint8)': np.uint8, 'tensor(float)': np.float32}


@dataclass(frozen=True)
class Subject:
    """A network in a runtime with so many threads."""

    network: str
    runtime: str
    threads: int


Functions = dict[Subject, Callable[[], object]]


def bench_engine(
    bundle: Bundle,
    rounds: int = 50,
    threads: Sequence[int] = (1, 2),
    onnx_files: Mapping[str, Path] | None = None,
) -> None:
    """
    Print the time of one inference of each network, and ratios to the choice of ``auto``.

    :param onnx_files: networks of others, by name.
    """
    networks = {
        'torchvision ssdlite320, raw heads': export_ssdlite(21, has_nms=False),
        'torchvision ssdlite320, with NMS': export_ssdlite(21, has_nms=True),
        **{name: path.read_bytes() for name, path in (onnx_files or {}).items()},
    }
    auto = _auto(bundle)
    functions: Functions = {}
    for num in threads:
        functions |= _own_functions(bundle, num)
        for name, network in networks.items():
            functions |= _peer_functions(name, network, num)
    size = bundle.manifest.spec.input_size
    print(
        f'\n{bundle.name} {bundle.version}, input {size[0]} x {size[1]}; auto is {auto.runtime}; '
        f'ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__}; '
        f'{rounds} rounds; median (best) ms, and times as long as auto with as many threads'
    )
    timings = measure(
        {str(subject): function for subject, function in functions.items()}, rounds, pause=PAUSE
    )
    by_subject = {subject: timings[str(subject)] for subject in functions}
    header = ['network', 'runtime']
    for num in threads:
        header += [f'{num} thread{"s" if num > 1 else ""}', 'ratio']
    print(format_table(header, list(_rows(by_subject, threads, auto))))


def _auto(bundle: Bundle) -> Subject:
    """Name what the node would run on a machine with nothing but its CPU."""
    reasons = []
    for candidate in find_candidates(bundle):
        if candidate.engine not in CPU_ENGINES:
            continue
        try:
            open_engine(bundle, candidate.engine, precision=candidate.artefact.precision).close()
        except MnssdError as error:
            reasons.append(str(error))
            continue
        return Subject('mnssd', f'{candidate.engine} {candidate.artefact.precision}', 0)
    raise MnssdError(f'no network can run here: {"; ".join(reasons)}')


def _own_functions(bundle: Bundle, threads: int) -> Functions:
    """Open every network of the bundle for a single image that CPUs can run."""
    image = np.random.default_rng(0).integers(
        0, 256, (*bundle.manifest.spec.input_size, 3), np.uint8
    )
    functions: Functions = {}
    for item in bundle.manifest.artefacts:
        if item.engine not in CPU_ENGINES or item.has_batch:
            continue
        for spinning in (False, True) if item.engine == 'onnxruntime' else (False,):
            options = EngineOptions(threads, spinning)
            name = f'{item.engine} {item.precision}{", spinning" if spinning else ""}'
            try:
                engine = open_engine(bundle, item.engine, options, item.precision)
            except MnssdError as error:
                print(f'not measured: {name}: {error}')
                continue
            functions[Subject('mnssd', name, threads)] = partial(engine.infer, image)
    artefact = bundle.artefact('onnxruntime', 'fp32')
    if artefact is not None and threads == (os.cpu_count() or 1):
        session = onnxruntime.InferenceSession(
            bundle.read(artefact.path), providers=['CPUExecutionProvider']
        )
        subject = Subject(
            'mnssd, plain session.run with default options', 'onnxruntime fp32', threads
        )
        functions[subject] = partial(session.run, None, {'image': image})
    return functions


def _peer_functions(name: str, network: bytes, threads: int) -> Functions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=['CPUExecutionProvider'])
    feeds = {
        item.name: np.random.default_rng(0)
        .uniform(0, 1, [side if isinstance(side, int) else 1 for side in item.shape])
        .astype(NUMPY_TYPES[item.type])
        for item in session.get_inputs()
    }
    run = Subject(name, 'onnxruntime fp32', threads)
    return {run: partial(session.run, None, feeds), **_openvino(name, network, feeds, threads)}


def _openvino(name: str, network: bytes, feeds: Mapping[str, Any], threads: int) -> Functions:
    core = open_core()
    functions: Functions = {}
    has_bf16 = 'BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    for precision in ('f32', 'bf16') if has_bf16 else ('f32',):
        settings = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': 1,
            'INFERENCE_NUM_THREADS': threads,
            'INFERENCE_PRECISION_HINT': precision,
            'ENABLE_CPU_PINNING': False,
        }
        compiled = core.compile_model(core.read_model(network, b''), 'CPU', settings)
        request = compiled.create_infer_request()
        subject = Subject(name, f'openvino {precision.replace("f32", "fp32")}', threads)
        functions[subject] = partial(request.infer, feeds, share_inputs=True)
    return functions


def _rows(
    timings: Mapping[Subject, Timing], threads: Sequence[int], auto: Subject
) -> Iterator[list[str]]:
    for network, runtime in dict.fromkeys((item.network, item.runtime) for item in timings):
        row = [network, runtime]
        for num in threads:
            timing = timings.get(Subject(network, runtime, num))
            base = timings[Subject(auto.network, auto.runtime, num)]
            if timing is None:
                row += ['-', '-']
            else:
                times = f'{timing.median * 1e3:.2f} ({timing.best * 1e3:.2f})'
                row += [times, f'{timing.median / base.median:.2f}']
        yield row
