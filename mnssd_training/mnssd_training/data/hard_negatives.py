"""
False positives of an earlier model, which crops of the training images show more often.

``mnssd evaluate --hard-negatives`` writes the file, ``data.hard_negatives`` reads it.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
import textwrap
from typing import Annotated

from mnssd_training.data.sample import Sample
from mnssd_training.data.text_files import MAX_LIST, read_text
from mnssd_training.errors import DatasetError
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

Box = tuple[float, float, float, float]  # xyxy, pixels of the image


def _check_box(box: Box) -> Box:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f'expected x1 < x2 and y1 < y2, got {box}')
    return box


class HardNegative(BaseModel):
    """A detection far from any object of its class."""

    model_config = ConfigDict(frozen=True, extra='forbid', allow_inf_nan=False)

    image: str  # name of the sample
    class_name: str
    box: Annotated[Box, AfterValidator(_check_box)]
    score: float


HardNegatives = TypeAdapter(tuple[HardNegative, ...])


def attach_hard_negatives(samples: list[Sample], path: str) -> tuple[list[Sample], list[str]]:
    """
    Attach the false positives of a file to the samples; return them with a note.

    :param path: ``data.hard_negatives``; empty for none.
    :raises DatasetError: if the file is missing, malformed or about other images.
    """
    if not path:
        return samples, []
    file = Path(path).expanduser()
    try:
        entries = HardNegatives.validate_json(read_text(file, MAX_LIST))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = '.'.join(map(str, first['loc']))
        reason = textwrap.shorten(': '.join(filter(None, (where, first['msg']))), 200)
        raise DatasetError(
            file, f'expected false positives of mnssd evaluate --hard-negatives, got {reason}'
        ) from error
    boxes: dict[str, list[Box]] = defaultdict(list)
    for entry in entries:
        boxes[entry.image].append(entry.box)
    attached = [
        replace(sample, hard_negatives=np.array(boxes[sample.name], np.float32))
        if sample.name in boxes
        else sample
        for sample in samples
    ]
    num_images = sum(sample.name in boxes for sample in samples)
    if not num_images:
        names = f'such as {min(boxes)!r}' if boxes else 'but it is empty'
        raise DatasetError(
            file,
            f'expected false positives on training images, got those of others, {names}; '
            'write it with mnssd evaluate CHECKPOINT --split train --hard-negatives',
        )
    num = sum(len(sample.hard_negatives) for sample in attached)
    others = f'; {len(entries) - num} on other images are not used' if num < len(entries) else ''
    return attached, [f'{num} hard negatives in {num_images} training images{others}']
