"""What annotation files say, before any of it is judged."""

from dataclasses import dataclass
from pathlib import Path

from mnssd_training.data.remote import ShardEntry
from mnssd_training.inspection.findings import Finding

Place = Path | ShardEntry  # where an image is


@dataclass(frozen=True)
class RawBox:
    """
    One box as it is written.

    :ivar where: the line, object or annotation that says so.
    :ivar name: of the class.
    :ivar edges: xyxy, finite, neither cut nor ordered; in the unit of the entry.
    :ivar is_ignore: an ignore region, or an object that is to be taken for one.
    """

    where: str
    name: str
    edges: tuple[float, float, float, float]
    is_ignore: bool = False


@dataclass(frozen=True)
class Entry:
    """
    One image of a split with what its annotation says.

    :ivar name: unique in the dataset if all is well.
    :ivar split: the list it is on.
    :ivar image: the image file; it may be missing.
    :ivar annotation: the file that holds the boxes.
    :ivar size: (height, width) as annotated, pixels; None where the format does not say.
    :ivar boxes: those that could be read.
    :ivar is_fraction: boxes are in fractions of the image, not in pixels.
    """

    name: str
    split: str
    image: Place
    annotation: Path
    size: tuple[int, int] | None
    boxes: tuple[RawBox, ...]
    is_fraction: bool = False


@dataclass(frozen=True)
class Scan:
    """
    All that was read of a dataset.

    :ivar class_names: in the order of their labels.
    :ivar entries: split after split.
    :ivar findings: what could not be read.
    """

    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
