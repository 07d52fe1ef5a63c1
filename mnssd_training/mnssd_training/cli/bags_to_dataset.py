"""``bags-to-dataset``: frames of ROS 2 bags to images with first labels."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
import sys
from typing import Any

import cv2
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import Detections
from mnssd_training.cli.common import run_verb, write_image
from mnssd_training.data.bags import image_topics, read_bag_images
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.harvest import (
    Choice,
    choose_frames,
    Counts,
    Frame,
    LabelledFrame,
    split_by_time,
    write_dataset,
)
from mnssd_training.harvest.write import image_folder
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

EPILOG = """\
examples:
  mnssd bags-to-dataset flight_1 flight_2 --output DATA/new --every 2
  mnssd bags-to-dataset flight.mcap --output DATA/new --format yolo --frames 30 --no-prelabel

Labels that a model has made are a beginning: correct them before training on them.
"""
NS = 10**9
Label = Callable[[NDArray[np.uint8]], Detections]


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse, read, label and write."""
    args = _parse(arguments)
    root: Path = args.output
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(root, 'is there already; choose another --output')
    choice = Choice(round(args.every * NS), args.frames, args.min_difference)
    bundle = open_bundle(args.bundle or shipped_bundle_path())
    class_names = bundle.manifest.spec.class_names
    if args.classes:
        class_names = tuple(name.strip() for name in args.classes.split(','))
    label, model = _labeller(args, bundle)
    frames: list[LabelledFrame] = []
    bags: list[dict[str, Any]] = []
    for bag, name in zip(args.bags, _names(args.bags)):
        own, notes = _harvest(bag, name, args, choice, label)
        frames += own
        bags.append(notes)
    provenance = {
        'bags': bags,
        'labels': model,
        'choice': {
            'every_s': args.every,
            'frames': args.frames,
            'min_difference': args.min_difference,
            'val_share': args.val_share,
            'gap_s': args.gap,
        },
    }
    try:
        write_dataset(root, args.format, frames, class_names, provenance)
    except OSError as error:
        raise DatasetError(root, f'cannot be written: {error.strerror}') from error
    splits = Counter(frame.split for frame in frames)
    labels = sum(len(frame.found) for frame in frames)
    shown = ', '.join(f'{number} in {split}' for split, number in sorted(splits.items()))
    print(f'{len(frames)} images ({shown or "none"}), {labels} first labels: {root}')


def _parse(arguments: Sequence[str] | None) -> Namespace:
    """Parse and refuse what contradicts itself."""
    parser = ArgumentParser(
        'mnssd bags-to-dataset',
        description='Make a dataset of frames of ROS 2 bags, with first labels.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('bags', type=Path, nargs='+', help='folders, or .db3 or .mcap files')
    parser.add_argument('--output', type=Path, required=True, help='folder of the new dataset')
    parser.add_argument('--format', choices=('voc', 'coco', 'yolo'), default='voc')
    parser.add_argument('--topic', help='of the images (default: the only one)')
    parser.add_argument(
        '--every', type=float, default=1.0, help='least seconds between two frames (default: 1)'
    )
    parser.add_argument(
        '--frames', type=int, default=1, help='take one of so many frames (default: 1)'
    )
    parser.add_argument(
        '--min-difference',
        type=int,
        default=Choice().min_difference,
        metavar='BITS',
        help='of 256 by which a frame must differ from all before it (default: %(default)s)',
    )
    parser.add_argument(
        '--val-share', type=float, default=0.2, help='the end of each bag (default: 0.2)'
    )
    parser.add_argument(
        '--gap', type=float, default=5.0, help='seconds before it that are left out (default: 5)'
    )
    parser.add_argument('--bundle', type=Path, help='labels by this one (default: the shipped)')
    parser.add_argument('--engine', default='auto', help='that runs it (default: auto)')
    parser.add_argument('--no-prelabel', action='store_true', help='leave all labels out')
    parser.add_argument('--classes', help="names with commas (default: the bundle's)")
    parser.add_argument('--score-threshold', type=float, help="default: the bundle's")
    parser.add_argument('--png', action='store_true', help='write PNG, not JPEG of quality 95')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_args(arguments)
    for name, okay, words in (
        ('every', 0 <= args.every < 1e6, 'seconds from 0 on'),
        ('frames', args.frames >= 1, 'at least 1'),
        ('min-difference', args.min_difference >= 0, 'at least 0'),
        ('val-share', 0 <= args.val_share <= 1, '0 to 1'),
        ('gap', 0 <= args.gap < 1e6, 'seconds from 0 on'),
    ):
        if not okay:
            value = getattr(args, name.replace('-', '_'))
            raise ConfigError(f'--{name}: expected {words}, got {value}')
    if args.classes and not args.no_prelabel:
        raise ConfigError('--classes: labels are of the classes of the bundle; see --no-prelabel')
    return args


def _labeller(args: Namespace, bundle: Bundle) -> tuple[Label, dict[str, Any] | None]:
    """Make what labels an image, and what to note of it."""
    if args.no_prelabel:
        return lambda _: Detections.empty(), None
    thresholds = bundle.manifest.thresholds
    if args.score_threshold is not None:
        thresholds = replace(thresholds, score=args.score_threshold)
    notes = {
        'bundle': f'{bundle.name}-{bundle.version}',
        'digest': bundle.digest,
        'score_threshold': thresholds.score,
        'iou_threshold': thresholds.iou,
    }
    return Detector(open_engine(bundle, args.engine), thresholds).detect, notes


def _names(bags: Sequence[Path]) -> list[str]:
    """Name bags by their files; those that have the name of an earlier one get a number."""
    stems = [bag.resolve().stem.replace('.', '_') for bag in bags]
    return [
        f'{stem}_{stems[:index].count(stem) + 1}' if stem in stems[:index] else stem
        for index, stem in enumerate(stems)
    ]


def _harvest(
    bag: Path, name: str, args: Namespace, choice: Choice, label: Label
) -> tuple[list[LabelledFrame], dict[str, Any]]:
    """Take, label and write the images of one bag."""
    suffix = '.png' if args.png else '.jpg'
    folder = image_folder(args.output, args.format)
    counts, topics = Counts(), set[str]()
    frames: list[LabelledFrame] = []

    def images() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        total = image_topics(bag).get(args.topic) if args.topic else None
        bar = tqdm(
            read_bag_images(bag, args.topic), name, total, disable=args.quiet or None, leave=False
        )
        for stamp_ns, image, topic in bar:
            topics.add(topic)
            yield stamp_ns, image

    taken = set[str]()
    for frame in choose_frames(images(), choice, counts):
        stem = f'{name}_{frame.stamp_ns // NS}_{frame.stamp_ns % NS:09d}'
        stem = stem if stem not in taken else f'{stem}_{counts.seen}'
        taken.add(stem)
        write_image(folder / f'{stem}{suffix}', _plain_grey(frame), 95)
        height, width = frame.image.shape[:2]
        found, topic = label(frame.image), ''.join(topics)
        frames.append(
            LabelledFrame(
                stem, suffix, '', (height, width), found, str(bag), topic, frame.stamp_ns
            )
        )
    stamps = [frame.stamp_ns for frame in frames]
    splits = split_by_time(stamps, args.val_share, round(args.gap * NS))
    kept = []
    for one, split in zip(frames, splits):
        if split:
            kept.append(replace(one, split=split))
        else:
            (folder / f'{one.name}{suffix}').unlink()
    notes = {
        'bag': str(bag),
        'topic': ''.join(topics),
        'frames': counts.seen,
        'left_out_as_alike': counts.alike,
        'left_out_between_splits': len(frames) - len(kept),
        'taken': len(kept),
    }
    return kept, notes


def _plain_grey(frame: Frame) -> NDArray[np.uint8]:
    """Keep one channel of an image whose channels are the same."""
    image = frame.image
    is_grey = (image == image[..., :1]).all()
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if is_grey else image


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
