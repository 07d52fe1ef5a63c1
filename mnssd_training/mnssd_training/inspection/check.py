"""Datasets to a list of everything that is wrong with them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mnssd_perception.errors import MnssdError
from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, SourceConfig
from mnssd_training.data.remote import ShardEntry
from mnssd_training.data.sources import read_samples
from mnssd_training.inspection.check_boxes import check_boxes, check_pairs, check_unusual
from mnssd_training.inspection.check_classes import check_classes, check_empty
from mnssd_training.inspection.check_images import check_colours, check_image
from mnssd_training.inspection.check_network import (
    check_network,
    check_priors,
    sizes_in_input,
)
from mnssd_training.inspection.check_splits import check_likeness, check_names
from mnssd_training.inspection.findings import count_errors, Finding
from mnssd_training.inspection.photograph import look_at_all, Photograph
from mnssd_training.inspection.placed import place, Placed
from mnssd_training.inspection.records import Place, Scan
from mnssd_training.inspection.scan import scan
from mnssd_training.priors import make_feature_maps
import numpy as np

Progress = Callable[[Iterator[Photograph], int], Iterable[Photograph]]
TRAIN, VAL = 'train', 'val'


@dataclass(frozen=True)
class Checked:
    """
    The result of a check.

    :ivar num_images: that were looked at.
    :ivar num_boxes: that were looked at, ignore regions among them.
    :ivar findings: all that is wrong, in the order of the checks.
    """

    num_images: int
    num_boxes: int
    findings: tuple[Finding, ...]


def check(
    sources: Sequence[SourceConfig],
    splits: Sequence[str] = (),
    class_names: Sequence[str] = (),
    experiment: Experiment | None = None,
    workers: int = 1,
    progress: Progress = lambda found, _: found,
) -> Checked:
    """
    Find everything that is wrong with datasets that are trained on together.

    :param sources: the datasets.
    :param splits: lists to look at; empty for those that each dataset is trained and scored on.
    :param class_names: of the model; empty for those of each dataset.
    :param experiment: tells what the network makes of the boxes; None to leave that out.
    :param workers: processes that read images.
    :param progress: passes images on; gets their number, too.
    :return: all findings.
    :raises DatasetError: if there is no such folder.
    """
    scans = [_scan(source, splits, class_names) for source in sources]
    findings = [finding for one in scans for finding in one.findings]
    entries = [entry for one in scans for entry in one.entries]
    names = list(class_names) or list(
        dict.fromkeys(name for one in scans for name in one.class_names)
    )
    files = [path for path in dict.fromkeys(entry.image for entry in entries) if _exists(path)]
    looked = progress(look_at_all(files, workers), len(files))
    photographs = {photograph.path: photograph for photograph in looked}
    placed = place(entries, photographs, names)
    for entry in entries:
        findings += check_image(entry, photographs.get(entry.image))
    findings += check_colours(entries, photographs)
    findings += check_names(entries)
    findings += check_likeness(entries, photographs)
    for item in placed:
        findings += check_boxes(item)
        findings += check_pairs(item, names)
    findings += check_unusual(placed, names)
    root = mask_secrets(', '.join(source.root for source in sources))
    findings += check_classes(placed, names, TRAIN, VAL, root)
    findings += check_empty(placed, root)
    if experiment is not None:
        findings += _check_network(placed, experiment, names, root)
    if not count_errors(findings):
        findings += _check_readers(sources, splits, class_names)
    return Checked(len(entries), sum(len(entry.boxes) for entry in entries), tuple(findings))


def _scan(source: SourceConfig, splits: Sequence[str], class_names: Sequence[str]) -> Scan:
    """Read one dataset, with the names ``train`` and ``val`` for the lists used as such."""
    wanted = list(splits) or _own_splits(source)
    roles = {} if splits else {source.train_split: TRAIN, source.val_split: VAL}
    found = scan(source, wanted, class_names)
    entries = tuple(
        replace(entry, split=roles.get(entry.split, entry.split)) for entry in found.entries
    )
    return replace(found, entries=entries)


def _own_splits(source: SourceConfig) -> list[str]:
    """List the splits that a dataset is trained and scored on."""
    return [split for split in (source.train_split, source.val_split) if split]


def _exists(path: Place) -> bool:
    """Tell whether there is an image file to look at."""
    try:
        return isinstance(path, ShardEntry) or path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _check_network(
    placed: Sequence[Placed], experiment: Experiment, class_names: Sequence[str], root: str
) -> Iterator[Finding]:
    """Find objects that the network of an experiment can hardly learn."""
    size = experiment.input
    sizes = [sizes_in_input(item, size.size, size.resize) for item in placed]
    to_train = [(item, own) for item, own in zip(placed, sizes) if item.entry.split == TRAIN]
    boxes = np.concatenate([*(own[item.is_object] for item, own in to_train), np.zeros((0, 2))])
    labels = np.concatenate([np.zeros(0, int), *(i.labels[i.is_object] for i, _ in to_train)])
    levels = make_feature_maps(experiment.priors, size, boxes, experiment.training.seed)
    iou, min_side = experiment.matching.positive_iou, experiment.augmentation.min_box_size
    yield from check_priors(boxes, labels, class_names, levels, iou, min_side, root)
    for item, own in zip(placed, sizes):
        yield from check_network(item, own, levels, iou, min_side)


def _check_readers(
    sources: Sequence[SourceConfig], splits: Sequence[str], class_names: Sequence[str]
) -> Iterator[Finding]:
    """Read the datasets as training does: what it refuses is never passed over here."""
    for source in sources:
        for split in splits or _own_splits(source):
            try:
                read_samples(source, split, class_names)
            except MnssdError as error:
                place = str(getattr(error, 'path', source.root))
                words = str(error).removeprefix(f'{place}: ')
                yield Finding('reader refuses', place, split, words)
