"""``evaluate``: a checkpoint or a bundle to its average precision, as text or JSON."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
import json
from pathlib import Path
import sys
from typing import Any

from mnssd_perception.bundle import open_bundle
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_training.cli.verb import run_verb
from mnssd_training.data import read_voc
from mnssd_training.errors import DatasetError
from mnssd_training.evaluation import evaluate_detector, evaluate_model, SCORING
from mnssd_training.train import load_checkpoint


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse, score and print."""
    parser = ArgumentParser('evaluate', description='Score a model on annotated photographs.')
    parser.add_argument('model', type=Path, help='a checkpoint (.pt) or a bundle (.mnssd)')
    parser.add_argument('data', type=Path, help='folder of the data set, PASCAL VOC layout')
    parser.add_argument('--split', default='val', help='list to score on (default: val)')
    parser.add_argument('--engine', default='auto', help='engine for a bundle (default: auto)')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(arguments)
    scores = _score(args.model, args.data, args.split, args.engine)
    print(json.dumps(scores, indent=2) if args.json else _table(scores))


def _score(model: Path, data: Path, split: str, engine_name: str) -> dict[str, Any]:
    """Score a checkpoint through PyTorch, or a bundle through its engine."""
    if model.suffix == '.pt':
        checkpoint = load_checkpoint(model)
        network = checkpoint.build()
        samples = read_voc(data, split, network.spec.class_names)
        return evaluate_model(network, samples)
    if model.suffix and not model.exists():
        raise DatasetError(model, 'no such model')
    bundle = open_bundle(model)
    samples = read_voc(data, split, bundle.manifest.spec.class_names)
    engine = open_engine(bundle, engine_name)
    everything = replace(SCORING, iou_threshold=bundle.manifest.thresholds.iou)
    return evaluate_detector(Detector(bundle, engine, everything), samples)


def _table(scores: dict[str, Any]) -> str:
    """Lay scores out as text."""
    columns = {
        'ap50': 'COCO AP50',
        'ap': 'COCO AP',
        'ap75': 'COCO AP75',
        'ap_small': 'small',
        'ap_medium': 'medium',
        'ap_large': 'large',
    }
    head = f'{"class":<16}{"objects":>9}{"VOC AP50":>10}'
    head += ''.join(f'{title:>11}' for title in columns.values())
    rows = [head]
    for name, ap50 in scores['ap50'].items():
        coco = scores['coco']['classes'][name]
        rows.append(
            f'{name:<16}{scores["num_objects"][name]:>9}{_number(ap50):>10}'
            + ''.join(f'{_number(coco[column]):>11}' for column in columns)
        )
    total = sum(scores['num_objects'].values())
    rows.append(
        f'{"mean":<16}{total:>9}{_number(scores["map50"]):>10}'
        + ''.join(f'{_number(scores["coco"][column]):>11}' for column in columns)
    )
    return '\n'.join(rows)


def _number(value: float | None) -> str:
    """Show a score, or a dash where there is none."""
    return '-' if value is None else f'{value:.4f}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
