"""``mnssd predict``: detect objects in images, videos, cameras and bags."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
import itertools
import json
from pathlib import Path
from statistics import median
import sys
from typing import Any, TextIO

from mnssd_perception.bundle import shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.overlay import draw_detections
from mnssd_perception.recording.video import VideoRecorder
from mnssd_perception.ssd import Detections
from mnssd_training.cli.common import command, make_parser, positive_int, write_image
from mnssd_training.cli.frames import Frame, FrameStream, open_frames
from mnssd_training.errors import DatasetError
from mnssd_training.predictor import open_predictor
import numpy as np

LINES = 'detections.jsonl'
EXAMPLES = """\
  mnssd predict images/ one_more.png
  mnssd predict flight.mp4 --model runs/hit_uav_0123456789ab/checkpoints/best.pt --output out
  mnssd predict 0 --limit 300                          the first camera, 300 frames
  mnssd predict rtsp://camera/stream --score-threshold 0.5
  mnssd predict flight_bag --topic /camera/image_raw   a ROS 2 bag
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Find objects in images, videos, cameras and bags."""
    parser = make_parser('predict', main.__doc__, EXAMPLES)
    parser.add_argument(
        'sources',
        nargs='+',
        help='images, folders of them, videos, cameras (0, /dev/video0), URLs '
        '(http:// image or stream, rtsp://), ROS 2 bags (sqlite3 or mcap)',
    )
    parser.add_argument(
        '--model',
        '--bundle',
        help='a bundle, a checkpoint or an ONNX file (default: the bundle that comes with mnssd)',
    )
    parser.add_argument('--engine', default='auto', help='of a bundle or ONNX file')
    parser.add_argument('--precision', default='', help='of a bundle (default: the fastest)')
    parser.add_argument('--score-threshold', type=float, help='default: that of the model')
    parser.add_argument('--topic', help='of a bag (default: the only one with images)')
    parser.add_argument('--limit', type=positive_int, help='images of each source')
    parser.add_argument('--no-overlay', action='store_true', help='write no images or videos')
    parser.add_argument(
        '--output', type=Path, default=Path('predictions'), help='folder (default: predictions)'
    )
    args = parser.parse_args(arguments)

    warn = partial(print, 'warning:', file=sys.stderr)
    streams = [open_frames(uri, args.topic, warn) for uri in args.sources]
    _check_names(streams, args.output)
    model = args.model or str(shipped_bundle_path())
    predictor = open_predictor(model, args.engine, args.precision)
    detector = predictor.detector
    if args.score_threshold is not None:
        detector.configure(replace(predictor.thresholds, score=args.score_threshold))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        with (args.output / LINES).open('w', encoding='utf-8') as lines:
            for stream in streams:
                _predict(detector, stream, args.output, lines, args.limit, not args.no_overlay)
    except OSError as error:
        raise DatasetError(args.output, f'cannot be written: {error.strerror}') from error
    print(f'overlays and {LINES} are in {args.output}')


def _predict(
    detector: Detector,
    stream: FrameStream,
    output: Path,
    lines: TextIO,
    limit: int | None,
    draw: bool,
) -> None:
    """Detect in the frames of one source; after an interrupt, the video so far is complete."""
    recorder = VideoRecorder(output / f'{stream.stem}.mp4')
    seconds: list[float] = []
    num_objects = 0
    try:
        for frame in itertools.islice(stream.frames, limit):
            detections, timings = detector.detect_timed(frame.image)
            seconds.append(timings.total)
            num_objects += len(detections)
            row = _row(stream.uri, frame, detections, detector.class_names)
            print(json.dumps(row), file=lines, flush=True)
            if not draw:
                continue
            overlay = draw_detections(frame.image, detections, detector.class_names)
            if frame.stamp_ns is None:
                write_image(output / f'{Path(frame.name).stem}.jpg', overlay, quality=95)
            else:
                recorder.add(np.ascontiguousarray(overlay[..., ::-1]), frame.stamp_ns)
    finally:
        recorder.close()
        stream.frames.close()
    print(
        f'{stream.uri}: {len(seconds)} images, {num_objects} objects, '
        f'{1e3 * median(seconds or [0.0]):.1f} ms an image'
    )


def _check_names(streams: Sequence[FrameStream], output: Path) -> None:
    """Refuse to overwrite the input, or to write two overlays to one file."""
    stems: set[str] = set()
    for stream in streams:
        if any(path.resolve().parent == output.resolve() for path in stream.paths):
            raise DatasetError(output, 'holds the images themselves; choose another --output')
        for stem in [path.stem for path in stream.paths] or [stream.stem]:
            if stem in stems:
                raise DatasetError(stream.uri, f'there is another image named {stem!r}')
            stems.add(stem)


def _row(
    uri: str, frame: Frame, detections: Detections, class_names: Sequence[str]
) -> dict[str, Any]:
    stamp = {} if frame.stamp_ns is None else {'stamp_ns': frame.stamp_ns}
    objects = [
        {
            'class': class_names[label],
            'score': round(float(score), 4),
            'box': [round(float(edge), 2) for edge in box],
        }
        for box, score, label in zip(detections.boxes, detections.scores, detections.labels)
    ]
    return {'source': uri, 'image': frame.name, **stamp, 'detections': objects}
