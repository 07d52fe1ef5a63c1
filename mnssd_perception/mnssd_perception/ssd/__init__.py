"""The contract between training and flight: NumPy only, and nothing twice."""

from mnssd_perception.ssd import boxes
from mnssd_perception.ssd.coding import decode, encode
from mnssd_perception.ssd.detections import Detections
from mnssd_perception.ssd.heads import RawHeads
from mnssd_perception.ssd.matching import match, Matching, Targets, targets
from mnssd_perception.ssd.nms import suppress
from mnssd_perception.ssd.postprocess import postprocess
from mnssd_perception.ssd.priors import (
    finetune_feature_maps,
    original_feature_maps,
    prior_boxes,
    prior_digest,
    scale_sizes,
    ssdlite_feature_maps,
)
from mnssd_perception.ssd.resize import fit_size, resize_frame, resize_image, Resizing, resizing
from mnssd_perception.ssd.spec import feature_map, FeatureMap, ModelSpec, Normalisation
from mnssd_perception.ssd.thresholds import Thresholds

__all__ = [
    'boxes',
    'decode',
    'Detections',
    'encode',
    'feature_map',
    'FeatureMap',
    'finetune_feature_maps',
    'fit_size',
    'match',
    'Matching',
    'ModelSpec',
    'Normalisation',
    'original_feature_maps',
    'postprocess',
    'prior_boxes',
    'prior_digest',
    'RawHeads',
    'resize_frame',
    'resize_image',
    'Resizing',
    'resizing',
    'scale_sizes',
    'ssdlite_feature_maps',
    'suppress',
    'Targets',
    'targets',
    'Thresholds',
]
