"""The network: a backbone, a light pyramid and SSD heads."""

from mnssd_training.model.mobilenet_ssd import build_model, check_grids, MobileNetSsd
from mnssd_training.model.torch_engine import TorchEngine

__all__ = ['build_model', 'check_grids', 'MobileNetSsd', 'TorchEngine']
