"""PyTorch as an inference engine."""

from mnssd_perception.errors import EngineError
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest
import torch


@pytest.fixture
def images(model: MobileNetSsd) -> np.ndarray:
    size = (3, *model.spec.input_size, 3)
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def test_heads_are_those_of_the_network(model: MobileNetSsd, images: np.ndarray) -> None:
    heads = TorchEngine(model).infer(images[0])
    with torch.no_grad():
        logits, offsets = model(torch.from_numpy(images[:1]))
    np.testing.assert_array_equal(heads.logits, logits[0].numpy())
    np.testing.assert_array_equal(heads.offsets, offsets[0].numpy())


def test_a_batch_runs_at_once(model: MobileNetSsd, images: np.ndarray) -> None:
    calls: list[int] = []
    hook = model.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    engine = TorchEngine(model)
    batch = engine.infer_batch(images)
    assert calls == [3]
    for heads, image in zip(batch, images):
        np.testing.assert_allclose(heads.logits, engine.infer(image).logits, atol=1e-4)
    hook.remove()


def test_info_names_pytorch_and_the_device(model: MobileNetSsd) -> None:
    info = TorchEngine(model).info
    assert (info.name, info.version, info.precision) == ('PyTorch', torch.__version__, 'fp32')
    assert info.device.startswith('CPU, ')
    assert TorchEngine.available() is None


def test_a_network_that_diverged_is_refused(model: MobileNetSsd, images: np.ndarray) -> None:
    hook = model.register_forward_hook(lambda _, __, heads: (heads[0] * torch.nan, heads[1]))
    with pytest.raises(EngineError, match="engine 'PyTorch': expected finite logits, got"):
        TorchEngine(model).infer(images[0])
    hook.remove()


def test_a_closed_engine_is_refused(model: MobileNetSsd, images: np.ndarray) -> None:
    engine = TorchEngine(model)
    engine.close()
    with pytest.raises(EngineError, match='is closed'):
        engine.infer_batch(images)
