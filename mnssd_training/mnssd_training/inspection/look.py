"""Samples to images of them with their boxes: as they are, or as the network sees them."""

from collections.abc import Sequence

from mnssd_perception.overlay import class_colour
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import generate_priors, match_priors, ModelSpec
from mnssd_training.config import Experiment
from mnssd_training.data.dataset import derive_seed
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.data.transforms import augment, NetworkSample
from mnssd_training.inspection.drawing import draw_boxes, draw_dots, draw_regions, fit, Tile
from mnssd_training.priors import resize_spec
import numpy as np

LEFT_OUT = -2  # what ``match_priors`` says of a prior that is neither an object nor background


def choose_indices(
    samples: Sequence[Sample], num: int, labels: Sequence[int], generator: np.random.Generator
) -> list[int]:
    """
    Choose samples by chance.

    :param samples: to choose from.
    :param num: how many, at most.
    :param labels: a sample must show one of these classes; empty for any sample.
    :param generator: of the choice.
    :return: indices, rising.
    """
    wanted = [
        index
        for index, sample in enumerate(samples)
        if not labels or np.isin(sample.labels, labels).any()
    ]
    chosen = generator.choice(len(wanted), min(num, len(wanted)), replace=False)
    return sorted(wanted[place] for place in chosen)


def picture_of(sample: Sample, width: int) -> Tile:
    """
    Draw an image with its boxes and ignore regions.

    :param sample: which.
    :param width: of the image, pixels.
    :return: the image.
    :raises DatasetError: if the image cannot be read.
    """
    canvas, scale = fit(load_image(sample), width)
    draw_regions(canvas, sample.ignore * scale)
    draw_boxes(canvas, sample.boxes * scale, [class_colour(int(x)) for x in sample.labels])
    return Tile(canvas, f'{sample.name}  {len(sample.boxes)} objects')


def seen_in_training(
    samples: Sequence[Sample],
    index: int,
    spec: ModelSpec,
    experiment: Experiment,
    epoch: int,
    augmented: bool,
) -> NetworkSample:
    """
    Make what the network sees of a sample in an epoch, by the draws of the training set.

    :param samples: the training set.
    :param index: of the sample.
    :param spec: the model.
    :param experiment: the augmentation, the seed, and the size of the network input.
    :param epoch: from 0.
    :param augmented: as in training; else as on the drone.
    :return: what the network sees.
    :raises DatasetError: if an image cannot be read.
    """
    size = (experiment.input.train_size if augmented else None) or experiment.input.size
    seed = derive_seed(experiment.training.seed, epoch, samples[index].name)
    generator = np.random.default_rng(seed)
    config = experiment.augmentation if augmented else None
    return augment(samples, index, spec, size, config, generator)


def picture_of_input(
    name: str,
    seen: NetworkSample,
    spec: ModelSpec,
    experiment: Experiment,
    matched: bool,
    width: int,
) -> Tile:
    """
    Draw what the network sees, with its boxes, or with the priors that answer for them.

    Priors of objects have the colour of the class and lie under the white boxes of these; dots
    are centres of priors that the loss leaves out.

    :param name: of the sample.
    :param seen: what the network sees.
    :param spec: the model.
    :param experiment: how priors are matched.
    :param matched: draw priors.
    :param width: of the image, pixels.
    :return: the image.
    """
    canvas, zoom = fit(seen.image, width)
    scale = np.array(seen.image.shape[1::-1] * 2, np.float64) * zoom
    draw_regions(canvas, seen.ignore * scale)
    colours = [class_colour(int(label)) for label in seen.labels]
    if not matched:
        draw_boxes(canvas, seen.boxes * scale, colours)
        return Tile(canvas, f'{name}  {len(seen.boxes)} objects')
    priors = generate_priors(resize_spec(spec, (seen.image.shape[0], seen.image.shape[1])))
    edges = boxes_of.cxcywh_to_xyxy(priors)
    owner = match_priors(edges, seen.boxes, seen.ignore, experiment.matching)
    draw_dots(canvas, priors[owner == LEFT_OUT, :2] * scale[:2])
    positive = np.flatnonzero(owner >= 0)
    own = [colours[owner[prior]] for prior in positive]
    draw_boxes(canvas, edges[positive] * scale, own, rim=False)
    draw_boxes(canvas, seen.boxes * scale, [(255, 255, 255)] * len(seen.boxes))
    left_out = int((owner == LEFT_OUT).sum())
    words = f'{name}  {len(seen.boxes)} objects, {len(positive)} priors, {left_out} left out'
    return Tile(canvas, words)
