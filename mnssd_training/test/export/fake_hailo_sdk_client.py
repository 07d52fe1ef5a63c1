"""
A stand-in for Hailo's Dataflow Compiler, which is proprietary.

It has the calls and traps that public programs show (hailo_model_zoo, Ultralytics), and measures
ranges and quantises the outputs for real. Its HEFs run in ``fake_hailo_platform``; the network
inside stays in float.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import enum
from pathlib import Path
import re
import sys
from types import ModuleType
from typing import Any

from fake_hailo_platform import make_header, quantise, run_network, write_hef
import numpy as np
import onnx
import pytest

# Operators that the compiler takes; shuffles at the end of a network it does not.
OPERATORS = {'Conv', 'Clip', 'Relu', 'Add', 'Resize', 'Constant', 'MaxPool', 'Concat'}


class ParsingWithRecommendationException(Exception):  # noqa: N818 - its name
    """The graph cannot be parsed up to these end nodes; the message suggests others."""


class InvalidStateException(Exception):  # noqa: N818
    """A step out of order."""


class BackendValueError(Exception):
    """Calibration data that do not fit."""


class ScriptParserError(Exception):
    """A model script that cannot be parsed."""


class InferenceContext(enum.Enum):
    SDK_NATIVE = 0
    SDK_FP_OPTIMIZED = 1
    SDK_QUANTIZED = 2


class ClientRunner:
    def __init__(self, hw_arch: str | None = None, har: str | None = None) -> None:
        self._arch = hw_arch
        self._state = 'UNINITIALIZED'
        self._context: object = None
        self._script = ''

    def translate_onnx_model(
        self,
        model: str,
        net_name: str = 'model',
        start_node_names: list[str] | None = None,
        end_node_names: list[str] | None = None,
        net_input_shapes: dict[str, list[int]] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        proto = onnx.load(model)
        nodes = {node.name: node for node in proto.graph.node}
        inputs = {value.name: value for value in proto.graph.input}
        consumed = {name for node in proto.graph.node for name in node.input}
        last = [n.name for n in proto.graph.node if not consumed.intersection(n.output)]
        unknown = set(end_node_names or last) - set(nodes)  # names of nodes, not of tensors
        unsupported = [node.name for node in proto.graph.node if node.op_type not in OPERATORS]
        if unknown or unsupported or set(start_node_names or inputs) - {*nodes, *inputs}:
            convolutions = [node.name for node in proto.graph.node if node.op_type == 'Conv']
            raise ParsingWithRecommendationException(
                f'Parsing failed. The errors found in the graph are: {unsupported or unknown}. '
                f'Please try to parse the model again, using these end node names: '
                f'{", ".join(set(convolutions[-2:]) | set(last))}'
            )
        for name, shape in (net_input_shapes or {}).items():
            sides = [side.dim_value for side in inputs[name].type.tensor_type.shape.dim]
            assert sides == shape, 'NCHW, as in the file'
        (self._input,) = (
            [side.dim_value for side in value.type.tensor_type.shape.dim]
            for value in inputs.values()
        )
        shapes = {
            value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
            for value in proto.graph.output
        }
        self._network, self._name = Path(model).read_bytes(), net_name
        self._layers = {}
        for index, name in enumerate(end_node_names or last):
            channels, rows, columns = shapes[nodes[name].output[0]][1:]
            # Layers get names of their own, which change with the graph.
            self._layers[f'{net_name}/conv{28 + 3 * index}'] = {
                'original_names': [name],
                'output_shapes': [[-1, rows, columns, channels]],
            }
        self._state = 'HAILO_MODEL'
        return self.get_hn_dict(), {}

    def get_hn_dict(self) -> dict[str, Any]:
        return {
            'layers': self._layers,
            'net_params': {'output_layers_order': list(self._layers)},
        }

    def load_model_script(self, model_script: str, append: bool = False) -> None:
        self._require('HAILO_MODEL')
        known = (
            r'\w+ = normalization\(\[[\d., ]+\], \[[\d., ]+\]\)',
            r'model_optimization_flavor\(optimization_level=\d, compression_level=\d\)',
            r'model_optimization_config\(calibration, batch_size=\d+, calibset_size=\d+\)',
            r'quantization_param\(\{output_layer\*\}, precision_mode=a16_w16\)',
            r'resources_param\(max_utilization=[\d.]+\)',
        )
        for line in model_script.splitlines():
            if not any(re.fullmatch(pattern, line) for pattern in known):
                raise ScriptParserError(f'cannot parse {line!r}')
        self._script = model_script

    def optimize(self, calib_data: Any) -> None:
        self._require('HAILO_MODEL')
        _, channels, rows, columns = self._input
        if calib_data.shape[1:] != (rows, columns, channels):  # NHWC, although the ONNX is NCHW
            raise BackendValueError(
                f'calibration data of shape {calib_data.shape} do not fit the input '
                f'(N, {rows}, {columns}, {channels})'
            )
        size = re.search(r'calibset_size=(\d+)', self._script)
        if size and len(calib_data) < int(size[1]):
            raise BackendValueError(f'expected {size[1]} calibration images')
        numbers = re.search(r'normalization\(\[(.*?)\], \[(.*?)\]\)', self._script)
        mean, std = (
            [tuple(map(float, group.split(','))) for group in numbers.groups()]
            if numbers
            else ((0.0,) * 3, (1.0,) * 3)
        )
        # The range of the input is that of the data, right or wrong.
        low, high = float(min(calib_data.min(), 0)), float(calib_data.max())
        scale = (high - low) / 255
        dtype = 'UINT16' if 'a16_w16' in self._script else 'UINT8'
        outputs = [
            {'name': name, 'shape': layer['output_shapes'][0][1:], 'type': dtype,
             'original_names': layer['original_names'], 'quantisation': [(0.0, 1.0)]}
            for name, layer in self._layers.items()
        ]  # fmt: skip
        shape = (rows, columns, channels)
        self._header = make_header(shape, outputs, arch=self._arch.upper(), mean=mean, std=std)
        results = [run_network(self._header, self._network, image) for image in calib_data]
        for output in self._header['outputs']:
            maps = [result[output['name']] for result in results]
            smallest, largest = min(m.min() for m in maps), max(m.max() for m in maps)
            step = float(largest - smallest) / np.iinfo(dtype.lower()).max
            output['quantisation'] = [(round(-float(smallest) / step), step)]
        self._header['input']['quantisation'] = [(round(-low / scale), scale)]
        self._state = 'QUANTIZED_MODEL'

    @contextmanager
    def infer_context(self, inference_context: InferenceContext) -> Iterator[object]:
        if inference_context is InferenceContext.SDK_QUANTIZED:
            self._require('QUANTIZED_MODEL')
        self._context = object()
        yield self._context
        self._context = None

    def infer(self, context: object, dataset: Any, batch_size: int | None = None) -> list[Any]:
        if context is None or context is not self._context:
            raise InvalidStateException('not inside this infer_context')
        assert dataset.ndim == 4
        batches: dict[str, list[Any]] = {output['name']: [] for output in self._header['outputs']}
        for image in dataset:
            results = run_network(self._header, self._network, image)
            for output in self._header['outputs']:
                ((zero_point, scale),) = output['quantisation']
                values = quantise(results[output['name']], output).astype(np.float32)
                batches[output['name']].append((values - np.float32(zero_point)) * scale)
        return [np.stack(maps) for maps in batches.values()]

    def compile(self) -> bytes:
        self._require('QUANTIZED_MODEL')
        self._state = 'COMPILED_MODEL'
        header = {**self._header, 'outputs': self._header['outputs'][::-1]}
        return write_hef(header, self._network)

    def _require(self, state: str) -> None:
        if self._state != state:
            raise InvalidStateException(f'expected the state {state}, got {self._state}')


@contextmanager
def installed_compiler(version: str = '3.33.0') -> Iterator[ModuleType]:
    """Make ``import hailo_sdk_client`` find the fake."""
    package = ModuleType('hailo_sdk_client')
    package.__version__ = version
    package.ClientRunner, package.InferenceContext = ClientRunner, InferenceContext
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'hailo_sdk_client', package)
        yield package
