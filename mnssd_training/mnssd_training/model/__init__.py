"""The network: MobileNetV2, a light pyramid and SSDLite heads."""

from mnssd_training.model.mobilenet_ssd import build_model, MobileNetSsd, ModelConfig

__all__ = ['build_model', 'MobileNetSsd', 'ModelConfig']
