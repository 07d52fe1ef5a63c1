"""``predict``: images to detections, drawn and as JSON lines."""

from argparse import ArgumentParser
from collections.abc import Sequence
import json
from pathlib import Path
import sys

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector, DetectorSettings
from mnssd_perception.engines import open_engine
from mnssd_perception.overlay import draw_detections
from mnssd_perception.ssd import Detections
from mnssd_training.cli.verb import run_verb
from mnssd_training.data.sample import read_image
from mnssd_training.errors import DatasetError

SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp'})


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and look at each image."""
    parser = ArgumentParser('predict', description='Find objects in images.')
    parser.add_argument('images', type=Path, nargs='+', help='image files or folders of them')
    parser.add_argument('--bundle', type=Path, help='default: the one that comes with mnssd')
    parser.add_argument('--engine', default='auto', help='default: auto')
    parser.add_argument('--score-threshold', type=float, help="default: the bundle's")
    parser.add_argument(
        '--output', type=Path, default=Path('predictions'), help='folder (default: predictions)'
    )
    args = parser.parse_args(arguments)
    paths = _list(args.images)
    _check_names(paths, args.output)
    bundle = open_bundle(args.bundle or shipped_bundle_path())
    thresholds = bundle.manifest.thresholds
    settings = DetectorSettings(
        thresholds.score if args.score_threshold is None else args.score_threshold,
        thresholds.iou,
        thresholds.max_detections,
    )
    detector = Detector(bundle, open_engine(bundle, args.engine), settings)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        with (args.output / 'detections.jsonl').open('w') as lines:
            for path in paths:
                found = _predict(detector, path, args.output)
                lines.write(json.dumps(_row(path, found, detector.class_names)) + '\n')
    except OSError as error:
        raise DatasetError(args.output, f'cannot be written: {error.strerror}') from error
    print(f'{len(paths)} images; overlays and detections.jsonl are in {args.output}')


def _list(places: Sequence[Path]) -> list[Path]:
    """List the image files."""
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DatasetError(place, 'there is no image in this folder')
            paths += inside
        else:
            paths.append(place)
    return paths


def _check_names(paths: Sequence[Path], output: Path) -> None:
    """Refuse to write over an image or to write two overlays to one file."""
    images = {path.resolve() for path in paths}
    seen: set[Path] = set()
    for path in paths:
        overlay = _overlay(path, output).resolve()
        if overlay in images:
            raise DatasetError(output, 'holds the images themselves; choose another --output')
        if overlay in seen:
            raise DatasetError(path, f'there is another image named {path.stem!r}')
        seen.add(overlay)


def _predict(detector: Detector, path: Path, output: Path) -> Detections:
    """Look at one image and draw what was found."""
    image = read_image(path)
    found = detector.detect(image)
    overlay = draw_detections(image, found, detector.class_names)
    if not cv2.imwrite(str(_overlay(path, output)), overlay[..., ::-1]):
        raise DatasetError(_overlay(path, output), 'cannot be written')
    return found


def _overlay(path: Path, output: Path) -> Path:
    """Name the overlay of an image."""
    return output / f'{path.stem}.jpg'


def _row(path: Path, found: Detections, class_names: Sequence[str]) -> dict[str, object]:
    """Say what was found in one image."""
    return {
        'image': str(path),
        'detections': [
            {
                'class': class_names[label],
                'score': round(float(score), 4),
                'box': [round(float(edge), 2) for edge in box],
            }
            for box, score, label in zip(found.boxes, found.scores, found.labels)
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
