"""Time the shipped network on this machine: threads, spinning and I/O binding of ONNX Runtime."""

from collections.abc import Callable
from functools import partial
from itertools import product
import os

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import EngineOptions, open_engine
import numpy as np

from benchmarks.timing import measure


def bench_engine(bundle: Bundle, rounds: int = 50) -> None:
    """Print the time of one inference for each choice of threads, and of a plain session."""
    import onnxruntime

    size = bundle.manifest.spec.input_size
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cores = os.cpu_count() or 1
    print(
        f'\n{bundle.name} {bundle.version}, input {size}, ONNX Runtime {onnxruntime.__version__}'
    )
    functions: dict[str, Callable[[], object]] = {}
    for threads, spinning in product(sorted({1, min(2, cores), cores}), (False, True)):
        engine = open_engine(bundle, 'onnxruntime', EngineOptions(threads, spinning))
        name = f'{threads} threads, {"spinning" if spinning else "not spinning"}'
        functions[name] = partial(engine.infer, image)
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    session = onnxruntime.InferenceSession(
        bundle.read(artefact.path), providers=['CPUExecutionProvider']
    )
    functions['plain session.run, default options'] = partial(session.run, None, {'image': image})
    for name, timing in measure(functions, rounds).items():
        print(f'  {name:<50}{timing}')
