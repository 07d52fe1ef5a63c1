"""Keys of ``data``: which images."""

from typing import Literal

from mnssd_training.config.section import Section
from pydantic import Field, field_validator


class SourceConfig(Section):
    """One annotated dataset."""

    format: Literal['voc', 'coco', 'yolo', 'visdrone', 'shards'] = 'voc'
    """How it is laid out."""
    root: str = Field(min_length=1, json_schema_extra={'path': True})
    """Its folder; shards may also be at ``s3://`` or ``https://``."""
    train_split: str = 'train'
    """Its list of images to train on, by name or as a path; empty for none."""
    val_split: str = 'val'
    """Its list of images to score on, by name or as a path; empty for none."""
    class_map: dict[str, str] = Field(default_factory=dict)
    """Class names of the dataset to those of the model; an empty name makes ignore regions, and
    ``*`` stands for all names that are neither here nor in ``classes``."""
    strict_labels: bool = False
    """Refuse what is skipped and counted otherwise: class ids beyond the class list and lines that
    are no label (yolo), boxes without area (yolo, coco, visdrone)."""
    use_difficult: bool = False
    """Take objects marked difficult for objects, not for ignore regions (voc)."""
    use_background: bool = True
    """Train on images without objects, which teach what is no object; false leaves them out. In
    yolo these are images with an empty label file or none."""


class DataConfig(SourceConfig):
    """The images of an experiment: one dataset, or several with a joint class list."""

    classes: tuple[str, ...] = ()
    """Classes in the order of their labels; empty to take them from the datasets."""
    extra_sources: tuple[SourceConfig, ...] = ()
    """Further datasets, trained and scored on together with this one."""
    cache_dir: str = Field(default='', json_schema_extra={'path': True})
    """Folder that keeps remote shards; empty to stream them anew each epoch."""

    @field_validator('classes')
    @classmethod
    def _differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse class lists that are none."""
        if len(set(names)) < len(names) or not all(name.strip() == name != '' for name in names):
            raise ValueError(f'expected names that differ, without blanks around, got {names}')
        return names
