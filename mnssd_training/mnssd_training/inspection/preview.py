"""Draw samples with their boxes, as they are or as the network gets them in training."""

from collections.abc import Sequence

from mnssd_perception.overlay import class_colour
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.config import Experiment
from mnssd_training.data.assignment import assign_priors
from mnssd_training.data.copy_paste import ObjectPool
from mnssd_training.data.dataset import derive_seed
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.data.transforms import augment, NetworkSample
from mnssd_training.errors import ConfigError
from mnssd_training.priors import resize_spec
from mnssd_training.reporting import drawing
import numpy as np

IGNORED = -2  # ``assign_priors`` of a prior that is neither positive nor background
WHITE = (255, 255, 255)


def choose_indices(
    samples: Sequence[Sample], num: int, labels: Sequence[int], generator: np.random.Generator
) -> list[int]:
    """Choose at most ``num`` samples that show one of the classes ``labels``, or any if empty."""
    candidates = [
        index
        for index, sample in enumerate(samples)
        if not labels or np.isin(sample.labels, labels).any()
    ]
    chosen = generator.choice(len(candidates), min(num, len(candidates)), replace=False)
    return sorted(candidates[position] for position in chosen)


def draw_sample(sample: Sample, width: int) -> drawing.Tile:
    """Draw an image with its boxes and ignore regions, ``width`` pixels wide."""
    canvas, scale = drawing.resize_to_width(load_image(sample), width)
    drawing.draw_ignore_regions(canvas, sample.ignore * scale)
    drawing.draw_boxes(canvas, sample.boxes * scale, [class_colour(int(x)) for x in sample.labels])
    return drawing.Tile(canvas, f'{sample.name}  {len(sample.boxes)} objects')


def make_network_sample(
    samples: Sequence[Sample],
    index: int,
    spec: ModelSpec,
    experiment: Experiment,
    epoch: int,
    augmented: bool,
    pool: ObjectPool | None = None,
) -> NetworkSample:
    """
    Transform a sample as the training set does, with the same random draws, or resize it only.

    :param samples: the training set; mosaic and mixup take further samples from it.
    :param epoch: from 0.
    :param pool: the objects for copy-paste, if any.
    """
    size = (experiment.input.train_size if augmented else None) or experiment.input.size
    seed = derive_seed(experiment.training.seed, epoch, samples[index].name)
    generator = np.random.default_rng(seed)
    config = experiment.augmentation if augmented else None
    return augment(samples, index, spec, size, config, generator, pool)


def draw_network_sample(
    name: str,
    sample: NetworkSample,
    spec: ModelSpec,
    experiment: Experiment,
    matched: bool,
    width: int,
) -> drawing.Tile:
    """
    Draw a network input with its boxes, and if ``matched`` with the priors that match them.

    Positive priors have the colour of the class, below the boxes, which are white then; dots are
    the centres of priors that the loss ignores.

    :raises ConfigError: if a network is needed to match them.
    """
    if matched and experiment.matching.method == 'tal':
        raise ConfigError(
            'matching.method: expected iou or atss to draw matched priors, got tal, which '
            'assigns by the predictions of a network; override it with matching.method=atss'
        )
    canvas, zoom = drawing.resize_to_width(sample.image, width)
    scale = np.array(sample.image.shape[1::-1] * 2, np.float64) * zoom
    drawing.draw_ignore_regions(canvas, sample.ignore * scale)
    colours = [class_colour(int(label)) for label in sample.labels]
    if not matched:
        drawing.draw_boxes(canvas, sample.boxes * scale, colours)
        return drawing.Tile(canvas, f'{name}  {len(sample.boxes)} objects')
    spec = resize_spec(spec, (sample.image.shape[0], sample.image.shape[1]))
    priors = generate_priors(spec)
    edges = box_ops.cxcywh_to_xyxy(priors)
    matches = assign_priors(sample.boxes, sample.ignore, spec, experiment.matching)
    drawing.draw_points(canvas, priors[matches == IGNORED, :2] * scale[:2])
    positive = np.flatnonzero(matches >= 0)
    prior_colours = [colours[matches[prior]] for prior in positive]
    drawing.draw_boxes(canvas, edges[positive] * scale, prior_colours, rim=False)
    drawing.draw_boxes(canvas, sample.boxes * scale, [WHITE] * len(sample.boxes))
    counts = f'{len(positive)} positive priors, {(matches == IGNORED).sum()} ignored'
    return drawing.Tile(canvas, f'{name}  {len(sample.boxes)} objects, {counts}')
