"""The shipped network on this machine: threads, spinning and binding of ONNX Runtime."""

from collections.abc import Callable
from functools import partial
from itertools import product
import os

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import EngineOptions, open_engine
from mnssd_training.bench.timing import measure
import numpy as np


def bench_engine(bundle: Bundle, rounds: int = 50) -> None:
    """
    Print times.

    :param bundle: whose network is run.
    :param rounds: of measuring.
    """
    import onnxruntime

    size = bundle.manifest.spec.input_size
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cores = os.cpu_count() or 1
    threads = sorted({1, 2, cores} & set(range(1, cores + 1)))
    print(
        f'\n{bundle.name} {bundle.version}, input {size}, ONNX Runtime {onnxruntime.__version__}'
    )
    functions: dict[str, Callable[[], object]] = {}
    for num, spinning in product(threads, (False, True)):
        engine = open_engine(bundle, 'onnxruntime', EngineOptions(num, spinning))
        name = f'{num} threads, {"spinning" if spinning else "not spinning"}'
        functions[name] = partial(engine.infer, image)
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    plain = onnxruntime.InferenceSession(
        bundle.read(artefact.path), providers=['CPUExecutionProvider']
    )
    functions['plain session.run, default options'] = partial(plain.run, None, {'image': image})
    for name, timing in measure(functions, rounds).items():
        print(f'  {name:<50}{timing}')
