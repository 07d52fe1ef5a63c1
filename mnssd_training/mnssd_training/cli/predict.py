"""``predict``: images, videos, cameras and bags to detections, drawn and as JSON lines."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
import itertools
import json
from pathlib import Path
from statistics import median
import sys
from typing import Any, TextIO

import cv2
from mnssd_perception.bundle import shipped_bundle_path
from mnssd_perception.overlay import draw_detections
from mnssd_perception.recording.video import VideoRecorder
from mnssd_perception.ssd import Detections
from mnssd_training.cli.common import run_verb
from mnssd_training.cli.shots import open_shots, Shot, Shots
from mnssd_training.errors import DatasetError
from mnssd_training.predictor import open_predictor, Predictor
import numpy as np

LINES = 'detections.jsonl'
EPILOG = """\
examples:
  mnssd predict images/ one_more.png
  mnssd predict flight.mp4 --model runs/hit_uav_0123456789ab/checkpoints/best.pt --output looked_at
  mnssd predict 0 --limit 300                          the first camera, 300 frames
  mnssd predict rtsp://camera/stream --score-threshold 0.5
  mnssd predict flight_bag --topic /camera/image_raw   a bag of ROS 2
"""


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and look at everything."""
    parser = ArgumentParser(
        'mnssd predict',
        description='Find objects in images, videos, cameras and bags.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'sources',
        nargs='+',
        help='images, folders of them, videos, cameras (0, /dev/video0), addresses '
        '(http:// image or stream, rtsp://), bags of ROS 2 (sqlite3 or mcap)',
    )
    parser.add_argument(
        '--model',
        '--bundle',
        help='a bundle, a checkpoint or an ONNX file (default: the bundle that comes with mnssd)',
    )
    parser.add_argument('--engine', default='auto', help='of a bundle or ONNX file')
    parser.add_argument('--score-threshold', type=float, help='default: that of the model')
    parser.add_argument('--topic', help='of a bag (default: the only one with images)')
    parser.add_argument('--limit', type=_count, help='images of each source')
    parser.add_argument('--no-overlay', action='store_true', help='write no images or videos')
    parser.add_argument(
        '--output', type=Path, default=Path('predictions'), help='folder (default: predictions)'
    )
    args = parser.parse_args(arguments)

    every = [open_shots(place, args.topic, _warn) for place in args.sources]
    _check_names(every, args.output)
    subject = open_predictor(args.model or str(shipped_bundle_path()), args.engine)
    if args.score_threshold is not None:
        subject.detector.configure(replace(subject.thresholds, score=args.score_threshold))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        with (args.output / LINES).open('w', encoding='utf-8') as lines:
            for shots in every:
                _look(subject, shots, args.output, lines, args.limit, not args.no_overlay)
    except OSError as error:
        raise DatasetError(args.output, f'cannot be written: {error.strerror}') from error
    print(f'overlays and {LINES} are in {args.output}')


def _look(
    subject: Predictor, shots: Shots, output: Path, lines: TextIO, limit: int | None, draw: bool
) -> None:
    """Look at the images of one source; a video keeps what was seen before it was interrupted."""
    recorder = VideoRecorder(output / f'{shots.stem}.mp4')
    seconds: list[float] = []
    names = subject.spec.class_names
    num_found = 0
    try:
        for shot in itertools.islice(shots.images, limit):
            found, timings = subject.detector.detect_timed(shot.image)
            seconds.append(timings.total)
            num_found += len(found)
            lines.write(json.dumps(_row(shots.source, shot, found, names)) + '\n')
            lines.flush()
            if not draw:
                continue
            overlay = draw_detections(shot.image, found, names)[..., ::-1]
            if shot.stamp_ns is None:
                path = output / f'{Path(shot.name).stem}.jpg'
                if not cv2.imwrite(str(path), overlay):
                    raise DatasetError(path, 'cannot be written')
            else:
                recorder.add(np.ascontiguousarray(overlay), shot.stamp_ns)
    finally:
        recorder.close()
        shots.images.close()
    print(
        f'{shots.source}: {len(seconds)} images, {num_found} objects, '
        f'{1e3 * median(seconds or [0.0]):.1f} ms an image'
    )


def _check_names(every: Sequence[Shots], output: Path) -> None:
    """Refuse to write over what is read, or to write two overlays to one file."""
    seen: set[str] = set()
    for shots in every:
        if any(path.resolve().parent == output.resolve() for path in shots.paths):
            raise DatasetError(output, 'holds the images themselves; choose another --output')
        for stem in [path.stem for path in shots.paths] or [shots.stem]:
            if stem in seen:
                raise DatasetError(shots.source, f'there is another image named {stem!r}')
            seen.add(stem)


def _row(source: str, shot: Shot, found: Detections, class_names: Sequence[str]) -> dict[str, Any]:
    """Say what was found in one image."""
    row: dict[str, Any] = {'source': source, 'image': shot.name}
    if shot.stamp_ns is not None:
        row['stamp_ns'] = shot.stamp_ns
    row['detections'] = [
        {
            'class': class_names[label],
            'score': round(float(score), 4),
            'box': [round(float(edge), 2) for edge in box],
        }
        for box, score, label in zip(found.boxes, found.scores, found.labels)
    ]
    return row


def _warn(sentence: str) -> None:
    """Tell what is wrong and survived."""
    print('warning:', sentence, file=sys.stderr)


def _count(text: str) -> int:
    """Read a number of images."""
    if not (text.isdecimal() and int(text)):
        raise ArgumentTypeError(f'expected a whole number of at least 1, got {text!r}')
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
