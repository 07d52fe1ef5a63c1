"""
Train and score torchvision's ``ssdlite320_mobilenet_v3_large`` as a peer of the network of mnssd.

It sees the same images, augmented by the same transforms and in the same order, for the same
number of steps with the same optimizer and schedule, and is scored by the same evaluator. Its
heads are fresh, its input is 320 x 320, its priors are its own; it cannot leave ignore regions out
of its loss. It has neither frozen blocks nor averaged weights.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
import json
from pathlib import Path
import sys
import time
from typing import Any

import cv2
from mnssd_perception.ssd import Detections, feature_map, ModelSpec, scale_sizes
from mnssd_training.config import Experiment, load_experiment
from mnssd_training.data import load_image, read_splits, Sample
from mnssd_training.data.dataset import derive_seed, EpochSampler
from mnssd_training.data.transforms import augment
from mnssd_training.evaluation import evaluate_detections, scores_to_json
from mnssd_training.train.schedule import lr_factor
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.models import MobileNet_V3_Large_Weights
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

SIDE = 320


class _AugmentedDataset(Dataset[tuple[torch.Tensor, dict[str, torch.Tensor]]]):
    """Augmented samples in the format of torchvision's detectors."""

    def __init__(self, samples: Sequence[Sample], experiment: Experiment, classes: Any) -> None:
        self._samples, self._experiment = samples, experiment
        size = (SIDE, SIDE)
        self._spec = ModelSpec(
            size, classes, (feature_map(size, SIDE, scale_sizes(size, [(1, 1)])),)
        )

    def __getitem__(
        self, key: tuple[int, int, tuple[int, int]]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        epoch, index, _ = key
        seed = derive_seed(self._experiment.training.seed, epoch, self._samples[index].name)
        config, generator = self._experiment.augmentation, np.random.default_rng(seed)
        item = augment(self._samples, index, self._spec, self._spec.input_size, config, generator)
        image = torch.from_numpy(item.image).permute(2, 0, 1).float() / 255
        boxes = torch.from_numpy(item.boxes * SIDE).reshape(-1, 4)
        return image, {'boxes': boxes, 'labels': torch.from_numpy(item.labels) + 1}


def train_peer(
    experiment: Experiment, epochs: int, run: Path, *, pretrained: bool
) -> dict[str, Any]:
    """
    Train and score the peer.

    :param experiment: data, augmentation and schedule.
    :param run: folder for ``scores.json`` and ``weights.pt``.
    :param pretrained: start the backbone from the ImageNet weights that torchvision downloads.
    """
    config, rule = experiment.training, experiment.optimizer
    splits = read_splits(experiment.data)
    classes, samples, validation = splits.class_names, splits.train, splits.val
    torch.manual_seed(config.seed)
    model = ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=MobileNet_V3_Large_Weights.IMAGENET1K_V1 if pretrained else None,
        num_classes=len(classes) + 1,
        trainable_backbone_layers=6,
        score_thresh=0.01,
        nms_thresh=0.5,
        detections_per_img=100,
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), rule.learning_rate, weight_decay=rule.weight_decay
    )
    steps_per_epoch = len(samples) // config.batch_size
    total, step, started = epochs * steps_per_epoch, 0, time.perf_counter()
    dataset = _AugmentedDataset(samples, experiment, classes)
    run.mkdir(parents=True, exist_ok=True)
    for epoch in range(epochs):
        model.train()
        sampler = EpochSampler(
            len(samples), config.batch_size, epoch, config.seed, size_of=lambda _: (SIDE, SIDE)
        )
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=config.workers,
            collate_fn=lambda items: tuple(zip(*items)),
        )
        mean_loss = 0.0
        for images, targets in loader:
            factor = lr_factor(step, total, steps_per_epoch, experiment.scheduler)
            optimizer.param_groups[0]['lr'] = rule.learning_rate * factor
            with torch.autocast('cpu', torch.bfloat16, enabled=config.precision == 'bf16'):
                loss = sum(model(list(images), list(targets)).values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), rule.clip_grad_norm)
            optimizer.step()
            step += 1
            mean_loss += loss.item() / len(sampler)
        seconds = time.perf_counter() - started
        print(f'epoch {epoch + 1}/{epochs}: loss {mean_loss:.3f}, {seconds:.0f} s', flush=True)
    scores = _score(model.eval(), validation, classes)
    scores |= {
        'images_seen': step * config.batch_size,
        'seconds': round(time.perf_counter() - started),
    }
    torch.save(model.state_dict(), run / 'weights.pt')
    (run / 'scores.json').write_text(json.dumps(scores, indent=2) + '\n')
    return scores


def _score(
    model: torch.nn.Module, validation: Sequence[Sample], classes: Sequence[str]
) -> dict[str, Any]:
    """Score through torchvision's own resizing and post-process."""

    @torch.inference_mode()
    def detect(image: NDArray[np.uint8]) -> Detections:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        (output,) = model([pixels])
        return Detections(
            output['boxes'].numpy(), output['scores'].numpy(), output['labels'].numpy() - 1
        )

    detections = [detect(load_image(sample)) for sample in validation]
    return scores_to_json(evaluate_detections(validation, detections, classes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the peer from the command line."""
    parser = ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('experiment', help='the experiment of our network')
    parser.add_argument('overrides', nargs='*', metavar='key.path=value')
    parser.add_argument('--epochs', type=int, required=True)
    parser.add_argument('--run', type=Path, required=True)
    parser.add_argument('--pretrained', action='store_true', help='download ImageNet weights')
    args = parser.parse_intermixed_args(arguments)
    cv2.setNumThreads(1)
    experiment = load_experiment(args.experiment, args.overrides)
    scores = train_peer(experiment, args.epochs, args.run, pretrained=args.pretrained)
    print(json.dumps(scores, indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
