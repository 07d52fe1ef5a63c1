"""``bags-to-dataset``: make a dataset of frames of ROS 2 bags, with first labels."""

from argparse import Namespace, SUPPRESS
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import Detections
from mnssd_training.bag_import import (
    FrameSelector,
    image_folder,
    LabelledFrame,
    MIN_DIFFERENCE,
    split_by_time,
    write_dataset,
)
from mnssd_training.cli.common import command, make_parser, write_image
from mnssd_training.cli.data_arguments import RenamedFlag
from mnssd_training.data.bags import list_image_topics, read_bag_images
from mnssd_training.errors import ConfigError, DatasetError
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

EXAMPLES = """\
  mnssd bags-to-dataset flight_1 flight_2 --output DATA/new --min-interval 2
  mnssd bags-to-dataset flight.mcap --output DATA/new --format yolo --frame-stride 30 --no-prelabel

Labels made by a model are a first version: correct them before training on them.
"""
NS = 10**9
FORMER_FLAGS = {
    '--every': '--min-interval', '--frames': '--frame-stride', '--val-share': '--val-fraction',
}  # fmt: skip
Label = Callable[[NDArray[np.uint8]], Detections]


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Make a dataset of frames of ROS 2 bags, with first labels."""
    args = _parse(arguments)
    root: Path = args.output
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(root, 'already exists; choose another --output')
    bundle = open_bundle(args.bundle or shipped_bundle_path())
    class_names = bundle.manifest.spec.class_names
    if args.classes:
        class_names = tuple(name.strip() for name in args.classes.split(','))
    label, model = _open_labeller(args, bundle)
    frames: list[LabelledFrame] = []
    bags = []
    for bag, name in zip(args.bags, _name_bags(args.bags)):
        kept, summary = _import_bag(bag, name, args, label)
        frames += kept
        bags.append(summary)
    provenance = {
        'bags': bags,
        'labels': model,
        'choice': {
            'every_s': args.min_interval,
            'frames': args.frame_stride,
            'min_difference': args.min_difference,
            'val_share': args.val_fraction,
            'gap_s': args.gap,
        },
    }
    try:
        write_dataset(root, args.format, frames, class_names, provenance)
    except OSError as error:
        raise DatasetError(root, f'cannot be written: {error.strerror}') from error
    splits = Counter(frame.split for frame in frames)
    num_labels = sum(len(frame.detections) for frame in frames)
    shown = ', '.join(f'{num} in {split}' for split, num in sorted(splits.items()))
    print(f'{len(frames)} images ({shown or "none"}), {num_labels} first labels: {root}')


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = make_parser('bags-to-dataset', main.__doc__, EXAMPLES)
    add = parser.add_argument
    add('bags', type=Path, nargs='+', help='folders, or .db3 or .mcap files')
    add('--output', type=Path, required=True, help='folder of the new dataset')
    add('--format', choices=('voc', 'coco', 'yolo'), default='voc')
    add('--topic', help='of the images (default: the only one)')
    add('--min-interval', type=float, default=1.0, help='seconds between two frames (default: 1)')
    add('--frame-stride', type=int, default=1, help='use every Nth frame (default: 1)')
    add(
        '--min-difference',
        type=int,
        default=MIN_DIFFERENCE,
        metavar='BITS',
        help='of the perceptual hash by which a frame must differ (default: %(default)s of 256)',
    )
    part = 'part of each bag for validation (default: 0.2)'
    add('--val-fraction', type=float, default=0.2, help=part)
    add('--gap', type=float, default=5.0, help='seconds left out before that (default: 5)')
    add('--bundle', type=Path, help='labels the frames (default: the shipped one)')
    add('--engine', default='auto', help='that runs the model (default: auto)')
    add('--no-prelabel', action='store_true', help='write no labels')
    add('--classes', help="names with commas (default: the bundle's)")
    add('--score-threshold', type=float, help="default: the bundle's")
    add('--png', action='store_true', help='write PNG, not JPEG of quality 95')
    add('--quiet', action='store_true', help='no progress bar')
    for former, flag in FORMER_FLAGS.items():
        add(former, action=RenamedFlag, metavar=flag, help=SUPPRESS)
    args = parser.parse_args(arguments)
    for name, is_valid, expected in (
        ('min-interval', 0 <= args.min_interval < 1e6, 'seconds from 0 on'),
        ('frame-stride', args.frame_stride >= 1, 'at least 1'),
        ('min-difference', args.min_difference >= 0, 'at least 0'),
        ('val-fraction', 0 <= args.val_fraction <= 1, '0 to 1'),
        ('gap', 0 <= args.gap < 1e6, 'seconds from 0 on'),
    ):
        if not is_valid:
            value = getattr(args, name.replace('-', '_'))
            raise ConfigError(f'--{name}: expected {expected}, got {value}')
    if args.classes and not args.no_prelabel:
        raise ConfigError('--classes: labels are of the classes of the bundle; see --no-prelabel')
    return args


def _open_labeller(args: Namespace, bundle: Bundle) -> tuple[Label, dict[str, Any] | None]:
    if args.no_prelabel:
        return lambda _: Detections.empty(), None
    thresholds = bundle.manifest.thresholds
    if args.score_threshold is not None:
        thresholds = replace(thresholds, score=args.score_threshold)
    provenance = {
        'bundle': f'{bundle.name}-{bundle.version}',
        'digest': bundle.digest,
        'score_threshold': thresholds.score,
        'iou_threshold': thresholds.iou,
    }
    return Detector(open_engine(bundle, args.engine), thresholds).detect, provenance


def _name_bags(bags: Sequence[Path]) -> list[str]:
    """Name bags by their files; those with the name of an earlier one get a number."""
    stems = [bag.resolve().stem.replace('.', '_') for bag in bags]
    return [
        f'{stem}_{stems[:index].count(stem) + 1}' if stem in stems[:index] else stem
        for index, stem in enumerate(stems)
    ]


def _import_bag(
    bag: Path, name: str, args: Namespace, label: Label
) -> tuple[list[LabelledFrame], dict[str, Any]]:
    """Select, label and write the images of one bag; return them with a summary."""
    suffix = '.png' if args.png else '.jpg'
    folder = image_folder(args.output, args.format)
    total = list_image_topics(bag).get(args.topic) if args.topic else None
    images = tqdm(
        read_bag_images(bag, args.topic), name, total, disable=args.quiet or None, leave=False
    )
    selector = FrameSelector(round(args.min_interval * NS), args.frame_stride, args.min_difference)
    topic = ''
    frames: dict[str, LabelledFrame] = {}
    for stamp_ns, image, topic in images:
        if not selector.select(stamp_ns, image):
            continue
        stem = f'{name}_{stamp_ns // NS}_{stamp_ns % NS:09d}'
        stem = f'{stem}_{selector.num_seen}' if stem in frames else stem
        # An image whose channels are the same is stored as grey.
        is_grey = (image == image[..., :1]).all()
        write_image(folder / f'{stem}{suffix}', image[..., 0] if is_grey else image, quality=95)
        size = (image.shape[0], image.shape[1])
        frames[stem] = LabelledFrame(
            stem, suffix, '', size, label(image), str(bag), topic, stamp_ns
        )
    stamps = [frame.stamp_ns for frame in frames.values()]
    splits = split_by_time(stamps, args.val_fraction, round(args.gap * NS))
    kept = []
    for frame, split in zip(frames.values(), splits):
        if split:
            kept.append(replace(frame, split=split))
        else:
            (folder / frame.file_name).unlink()
    return kept, {
        'bag': str(bag),
        'topic': topic,
        'frames': selector.num_seen,
        'left_out_as_alike': selector.num_duplicates,
        'left_out_between_splits': len(frames) - len(kept),
        'taken': len(kept),
    }
