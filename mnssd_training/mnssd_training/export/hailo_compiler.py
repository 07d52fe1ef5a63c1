"""
Compile networks for Hailo chips with Hailo's Dataflow Compiler.

The compiler is proprietary, runs on x86-64 Linux and cannot be installed by pip: where it is
missing, :func:`prepare_hailo` writes what it needs, for another machine. It quantises the network,
and its emulator computes what the chip will: :class:`HailoEmulatorEngine` puts that behind the
interface of the drone's engines, so that the accuracy gate can score it before it is compiled.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
import re
import shlex
import tempfile
from typing import Any

from mnssd_perception.engines import Engine, EngineInfo
from mnssd_perception.engines.engine import Heads
from mnssd_perception.engines.head_maps import match_head_maps
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
from mnssd_training.errors import DatasetError, ExportError
from mnssd_training.export.hailo_network import HailoNetwork
import numpy as np
from numpy.typing import NDArray

NAME = 'mnssd'  # of the network in a HEF
ARCHITECTURES = {'hailo8': 3, 'hailo8l': 3, 'hailo10h': 5, 'hailo15h': 5}  # major version of DFC
DOWNLOAD = 'https://hailo.ai/developer-zone/software-downloads'

# Script lines for one chip, as in Hailo's model zoo.
CHIP_LINES = {'hailo8l': ('resources_param(max_utilization=0.7)',)}


@dataclass(frozen=True)
class HailoOptions:
    """
    How the compiler quantises.

    :ivar optimization_level: 0 to 4; 2 and more fine-tune, and need a GPU and 1024 images.
    :ivar compression_level: 0 to 5: how much of the weights goes to 4 bits.
    :ivar output_bits: 8 or 16: precision of the outputs. More helps boxes, and costs a little.
    """

    optimization_level: int = 1
    compression_level: int = 0
    output_bits: int = 8

    def __post_init__(self) -> None:
        for name, allowed in (
            ('optimization_level', range(5)),
            ('compression_level', range(6)),
            ('output_bits', (8, 16)),
        ):
            if getattr(self, name) not in allowed:
                values = ', '.join(map(str, allowed))
                raise ExportError(f'{name}: expected one of {values}, got {getattr(self, name)}')


def check_compiler(arch: str) -> Any:
    """
    Import the compiler of a chip.

    :raises ExportError: if it is missing or of another version; with the next step.
    """
    _check_arch(arch)
    line = ARCHITECTURES[arch]
    way_out = (
        f'install the Dataflow Compiler {line}.x for {arch} (x86-64 Linux, from {DOWNLOAD}), or '
        'write its inputs with --prepare DIR and compile on another machine, see docs/hailo.md'
    )
    try:
        import hailo_sdk_client
    except ImportError as error:
        raise ExportError(f"Hailo's Dataflow Compiler is missing ({error}); {way_out}") from error
    version = str(hailo_sdk_client.__version__)
    if re.split(r'\D', version, maxsplit=1)[0] != str(line):
        raise ExportError(
            f'expected the Dataflow Compiler {line}.x for {arch}, got {version}; {way_out}'
        )
    return hailo_sdk_client


def make_model_script(
    spec: ModelSpec, num_images: int, arch: str, options: HailoOptions = HailoOptions()
) -> str:
    """
    Write the compiler's model script.

    :param num_images: for calibration.
    :raises ExportError: if there is no chip of that name.
    """
    _check_arch(arch)
    mean, std = (
        [round(255 * value, 4) for value in values]
        for values in (spec.normalisation.mean, spec.normalisation.std)
    )
    lines = [
        f'normalization1 = normalization({mean}, {std})',
        f'model_optimization_flavor(optimization_level={options.optimization_level}, '
        f'compression_level={options.compression_level})',
        'model_optimization_config(calibration, '
        f'batch_size={min(8, num_images)}, calibset_size={num_images})',
    ]
    if options.output_bits == 16:
        lines.append('quantization_param({output_layer*}, precision_mode=a16_w16)')
    return '\n'.join((*lines, *CHIP_LINES.get(arch, ()), ''))


def prepare_hailo(
    network: HailoNetwork,
    images: Sequence[NDArray[np.uint8]],
    arch: str,
    folder: Path,
    options: HailoOptions = HailoOptions(),
) -> str:
    """
    Write what the compiler needs, to compile on another machine.

    :param images: network inputs for calibration.
    :param folder: for ``network.onnx``, ``calibration.npy`` and ``network.alls``; created.
    :return: the commands to run in that folder, which make ``mnssd.hef``.
    """
    script = make_model_script(network.spec, len(images), arch, options)
    calibration = _stack(images, network.spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'network.onnx').write_bytes(network.network)
        (folder / 'network.alls').write_text(script)
        np.save(folder / 'calibration.npy', calibration)
    except OSError as error:
        raise DatasetError(folder, f'cannot be written: {error.strerror}') from error
    chip = f'--hw-arch {arch}'
    nodes = shlex.join(network.end_nodes)
    return (
        f'hailo parser onnx network.onnx {chip} --net-name {NAME} --har-path {NAME}.har '
        f'--start-node-names {network.start_node} --end-node-names {nodes}\n'
        f'hailo optimize {NAME}.har {chip} --calib-set-path calibration.npy '
        f'--model-script network.alls --output-har-path {NAME}_optimized.har\n'
        f'hailo compiler {NAME}_optimized.har {chip} --output-dir .'
    )


def compile_hailo(
    network: HailoNetwork,
    images: Sequence[NDArray[np.uint8]],
    arch: str,
    *,
    options: HailoOptions = HailoOptions(),
    check: Callable[[Engine], object] = lambda engine: None,
) -> bytes:
    """
    Quantise and compile a network, which takes minutes to hours.

    :param images: network inputs for calibration; 64 at least make sense.
    :param arch: of ``ARCHITECTURES``.
    :param check: is called with the emulated network before it is compiled; it raises to stop.
    :return: a HEF.
    :raises ExportError: if the compiler is missing, is the wrong one for the chip, or fails.
    """
    sdk = check_compiler(arch)
    script = make_model_script(network.spec, len(images), arch, options)
    calibration = _stack(images, network.spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'network.onnx'
        path.write_bytes(network.network)
        try:
            runner = sdk.ClientRunner(hw_arch=arch)
            runner.translate_onnx_model(
                str(path),
                NAME,
                start_node_names=[network.start_node],
                end_node_names=list(network.end_nodes),
                net_input_shapes={network.start_node: [1, 3, *network.spec.input_size]},
            )
            runner.load_model_script(script)
            runner.optimize(calibration)
            engine = HailoEmulatorEngine(network.spec, sdk, runner, arch)
            try:
                check(engine)
            finally:
                engine.close()
            return bytes(runner.compile())
        except MnssdError:
            raise
        except Exception as error:  # the compiler raises all kinds of errors
            reason = sanitize_text(f'{type(error).__name__}: {error}', 2000)
            raise ExportError(f'the Dataflow Compiler fails for {arch}: {reason}') from error


class HailoEmulatorEngine(Engine):
    """Runs a quantised network in the compiler's emulator, which computes what the chip does."""

    def __init__(self, spec: ModelSpec, sdk: Any, runner: Any, arch: str) -> None:
        super().__init__(spec)
        self.info = EngineInfo('hailo emulator', sdk.__version__, 'int8', arch)
        self._runner = runner
        network = runner.get_hn_dict()
        layers = network['net_params']['output_layers_order']
        matched = match_head_maps(
            spec,
            {name: tuple(network['layers'][name]['output_shapes'][0][1:]) for name in layers},
            lambda name: network['layers'][name]['original_names'],
        )
        self._maps = [matched[name] for name in layers]
        with ExitStack() as resources:
            context = runner.infer_context(sdk.InferenceContext.SDK_QUANTIZED)
            self._context = resources.enter_context(context)
            self._resources = resources.pop_all()

    @staticmethod
    def available() -> str | None:
        """Say that the emulator can be used; it comes with a compiled network."""
        return None

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        logits, offsets = self._run_batch(image[None])
        return logits[0], offsets[0]

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        outputs = self._runner.infer(self._context, images.astype(np.float32))
        heads = tuple(
            np.empty((len(images), self.spec.num_priors, columns), np.float32)
            for columns in (self.spec.num_classes + 1, 4)
        )
        for item, values in zip(self._maps, outputs, strict=True):
            part = heads[item.head][:, item.priors]
            part[...] = np.asarray(values).reshape(part.shape)
        return heads[0], heads[1]

    def _close(self) -> None:
        self._resources.close()


def _check_arch(arch: str) -> None:
    if arch not in ARCHITECTURES:
        raise ExportError(f'arch: expected one of {", ".join(ARCHITECTURES)}, got {arch!r}')


def _stack(images: Sequence[NDArray[np.uint8]], spec: ModelSpec) -> NDArray[np.float32]:
    """Stack calibration images in the compiler's format: (N, H, W, 3) float32, 0 to 255."""
    shape = (*spec.input_size, 3)
    if not images:
        raise ExportError('expected calibration images, got none')
    for image in images:
        if image.shape != shape or image.dtype != np.uint8:
            raise ExportError(
                f'expected calibration images of shape {shape} and type uint8, '
                f'got {image.shape} and {image.dtype}'
            )
    calibration = np.stack(images).astype(np.float32)
    # The compiler takes the range of the input from the images, and the drone feeds 0 to 255.
    calibration[0, 0, 0], calibration[0, -1, -1] = 0, 255
    return calibration
