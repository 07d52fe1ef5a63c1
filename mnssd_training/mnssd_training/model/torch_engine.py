"""Run a network in PyTorch behind the interface of the drone's engines."""

from mnssd_perception.engines import Engine, EngineInfo
from mnssd_training.model.mobilenet_ssd import MobileNetSsd
import numpy as np
from numpy.typing import NDArray
import torch


class TorchEngine(Engine):
    """Runs a network in evaluation mode on the device that it is on; batches run at once."""

    def __init__(self, model: MobileNetSsd) -> None:
        super().__init__(model.spec)
        self._model = model
        self._device = model.mean.device
        name = torch.cuda.get_device_name(self._device) if self._device.type == 'cuda' else 'CPU'
        device = f'{name}, {torch.get_num_threads()} threads'
        self.info = EngineInfo('PyTorch', torch.__version__, 'fp32', device)

    @staticmethod
    def available() -> str | None:
        """Say that PyTorch can be used."""
        return None

    def _run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, offsets = self._run_batch(image[None])
        return logits[0], offsets[0]

    def _run_batch(
        self, images: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits, offsets = self._model(torch.from_numpy(images).to(self._device))
        return logits.cpu().numpy(), offsets.cpu().numpy()

    def _close(self) -> None:
        pass
