"""The contract between training and the drone: pre- and post-processing in NumPy."""

from mnssd_perception.ssd import boxes
from mnssd_perception.ssd.box_coder import decode_boxes, encode_boxes
from mnssd_perception.ssd.detections import Detections, RawHeads
from mnssd_perception.ssd.matching import (
    encode_matches,
    encode_targets,
    match_priors,
    MatchingConfig,
    Targets,
)
from mnssd_perception.ssd.nms import nms
from mnssd_perception.ssd.postprocess import postprocess
from mnssd_perception.ssd.priors import (
    finetune_feature_maps,
    generate_priors,
    original_feature_maps,
    prior_digest,
    scale_sizes,
    ssdlite_feature_maps,
)
from mnssd_perception.ssd.resize import (
    fit_size,
    resize_frame,
    resize_image,
    resize_transform,
    ResizeTransform,
)
from mnssd_perception.ssd.spec import feature_map, FeatureMap, ModelSpec, Normalisation
from mnssd_perception.ssd.thresholds import Thresholds

__all__ = [
    'boxes',
    'decode_boxes',
    'Detections',
    'encode_boxes',
    'encode_matches',
    'encode_targets',
    'feature_map',
    'FeatureMap',
    'finetune_feature_maps',
    'fit_size',
    'generate_priors',
    'match_priors',
    'MatchingConfig',
    'ModelSpec',
    'nms',
    'Normalisation',
    'original_feature_maps',
    'postprocess',
    'prior_digest',
    'RawHeads',
    'resize_frame',
    'resize_image',
    'resize_transform',
    'ResizeTransform',
    'scale_sizes',
    'ssdlite_feature_maps',
    'Targets',
    'Thresholds',
]
