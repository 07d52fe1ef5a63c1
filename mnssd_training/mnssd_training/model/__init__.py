"""The network: a backbone, a light pyramid and SSD heads."""

from mnssd_training.model.mobilenet_ssd import build_model, check_grids, MobileNetSsd

__all__ = ['build_model', 'check_grids', 'MobileNetSsd']
