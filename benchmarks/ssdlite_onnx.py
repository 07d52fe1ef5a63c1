"""Export torchvision's ``ssdlite320_mobilenet_v3_large`` to ONNX, as a peer of the engines."""

import io
import logging
import warnings

import torch
from torch import nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

SIDE, OPSET = 320, 17


class _RawHeads(nn.Module):
    """Backbone and heads, without priors, decoding and NMS."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = list(self.model.backbone(images).values())
        heads = self.model.head(features)
        return heads['cls_logits'], heads['bbox_regression']


def export_ssdlite(num_classes: int, *, has_nms: bool) -> bytes:
    """
    Export the network with random weights, which take as long as trained ones.

    :param num_classes: with the background.
    :param has_nms: with resizing, decoding and NMS, as torchvision's models are exported. Random
        scores are all below its threshold, so NMS has nothing to do: the time is a lower bound.
    """
    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=num_classes, score_thresh=0.35
    ).eval()
    image = torch.rand(1, 3, SIDE, SIDE)
    module, example = (model, (list(image),)) if has_nms else (_RawHeads(model), (image,))
    outputs = ['boxes', 'scores', 'labels'] if has_nms else ['logits', 'offsets']
    exported = io.BytesIO()
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter('ignore')  # the old exporter, and constants that it traces
        torch.onnx.export(
            module, example, exported, dynamo=False, opset_version=OPSET,
            input_names=['image'], output_names=outputs,
        )  # fmt: skip
    return exported.getvalue()
