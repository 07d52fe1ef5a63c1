"""Former names of configuration keys, as older experiments and checkpoints store them."""

from collections.abc import Mapping
from typing import Any

# Former key -> its name now, in the same section. Entries of `data.extra_sources` count as `data`.
RENAMED = {
    'augmentation.crop': 'iou_crop',
    'augmentation.crop_ious': 'iou_crop_min_ious',
    'augmentation.crop_scale': 'iou_crop_min_scale',
    'augmentation.equalise': 'equalize',
    'augmentation.jitter': 'large_scale_jitter',
    'augmentation.jitter_aspect': 'large_scale_jitter_max_aspect',
    'augmentation.jitter_scale': 'large_scale_jitter_range',
    'augmentation.min_side': 'min_box_size',
    'augmentation.min_visible': 'min_visibility',
    'augmentation.zoom_out_side': 'zoom_out_max_scale',
    'data.cache': 'cache_dir',
    'data.more': 'extra_sources',
    'data.rename': 'class_map',
    'evaluation.every': 'every_epochs',
    'loss.beta': 'smooth_l1_beta',
    'loss.box_weight': 'localization_weight',
    'loss.boxes': 'localization',
    'loss.classes': 'classification',
    'loss.negatives': 'neg_pos_ratio',
    'model.channels': 'pyramid_channels',
    'model.extra': 'extra_layers',
    'model.tap': 'feature_location',
    'model.width': 'width_mult',
    'optimizer.backbone_factor': 'backbone_lr_factor',
    'optimizer.clip_norm': 'clip_grad_norm',
    'priors.a_cell': 'priors_per_cell',
    'scheduler.final_factor': 'final_lr_factor',
    'scheduler.rise': 'pct_start',
    'training.accumulate': 'grad_accum_steps',
    'training.early_stop': 'early_stopping_patience',
    'training.progressive': 'progressive_resizing',
}
# The other way round, because fingerprints hash the former names.
FORMER = {f'{key.partition(".")[0]}.{new}': key.partition('.')[2] for key, new in RENAMED.items()}


def rename_keys(sections: Any, names: Mapping[str, str] = RENAMED) -> Any:
    """
    Copy sections of an experiment, with former key names replaced.

    :param sections: plain data; anything that is not a mapping is returned as it is.
    :param names: dotted key to the name that replaces its last part.
    """
    if not isinstance(sections, Mapping):
        return sections
    return {section: _rename(keys, section, names) for section, keys in sections.items()}


def _rename(keys: Any, section: str, names: Mapping[str, str]) -> Any:
    if isinstance(keys, list):
        return [_rename(item, section, names) for item in keys]
    if not isinstance(keys, Mapping):
        return keys
    return {
        names.get(f'{section}.{key}', key): (
            _rename(value, section, names) if isinstance(value, list) else value
        )
        for key, value in keys.items()
    }
