"""Check how the network of an experiment sees boxes."""

from collections.abc import Iterator, Sequence

from mnssd_perception.ssd import FeatureMap
from mnssd_training.config import Experiment
from mnssd_training.data.problems import Problem
from mnssd_training.inspection.anchors import best_centred_iou, prior_sizes
from mnssd_training.inspection.image_boxes import ImageBoxes, TRAIN
from mnssd_training.priors import make_feature_maps, measure_box_sizes
import numpy as np
from numpy.typing import NDArray

MIN_BOXES = 30  # of a class, that show something
MOST = 0.5  # part of the boxes of a class


def check_network(
    images: Sequence[ImageBoxes], experiment: Experiment, class_names: Sequence[str], root: str
) -> Iterator[Problem]:
    """Find objects that the network of an experiment can hardly learn."""
    network = experiment.input
    sizes = [measure_box_sizes([image], network.size, network.resize) for image in images]
    to_train = [(i, size) for i, size in zip(images, sizes) if i.image.split == TRAIN]
    boxes = np.concatenate([*(size[i.is_object] for i, size in to_train), np.zeros((0, 2))])
    labels = np.concatenate([np.zeros(0, int), *(i.labels[i.is_object] for i, _ in to_train)])
    levels = make_feature_maps(experiment.priors, network, boxes, experiment.training.seed)
    matching, min_side = experiment.matching, experiment.augmentation.min_box_size
    # The other methods have no threshold that a prior must reach.
    iou = matching.positive_iou if matching.method == 'iou' else 0.0
    yield from check_priors(boxes, labels, class_names, levels, iou, min_side, root)
    for image, image_sizes in zip(images, sizes):
        rows = np.flatnonzero(image.is_object)
        best_ious = best_centred_iou(image_sizes[rows], prior_sizes(levels))
        for row, size, best_iou in zip(rows.tolist(), image_sizes[rows], best_ious):
            name = image.image.record.boxes[row].class_name
            shown = f'{name}: {size[0]:.1f} x {size[1]:.1f} pixels of the network input'
            if (size < min_side).any():
                message = f'{shown}, less than {min_side:g}'
                yield image.problem('box small for network', row, message)
            elif best_iou < iou:
                message = f'{shown}; IoU {best_iou:.2f} with the nearest prior, {iou:g} is needed'
                yield image.problem('box without prior', row, message)


def check_priors(
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    levels: Sequence[FeatureMap],
    positive_iou: float,
    min_side: float,
    root: str,
) -> Iterator[Problem]:
    """
    Find classes most of whose training boxes no prior fits, for all classes together and each.

    Such a box is too small, or has an IoU of less than ``positive_iou`` with every prior. An
    object of the second kind still gets its best prior, one where others get several; where that
    goes for more than half of a class, its scores suffer.

    :param sizes: ``(N, 2)`` (width, height) of the training boxes, pixels of the input.
    :param positive_iou: a prior with this IoU or more is matched to an object.
    :param min_side: a box with a smaller side becomes an ignore region, pixels of the input.
    """
    is_small = (sizes < min_side).any(axis=1)
    priors = prior_sizes(levels)
    is_unmatched = is_small | (best_centred_iou(sizes, priors) < positive_iou)
    smallest, largest = priors[priors.prod(axis=1).argsort()[[0, -1]]]
    groups = [('all classes', np.ones(len(labels), np.bool_))]
    groups += [(name, labels == label) for label, name in enumerate(class_names)]
    for name, in_group in groups:
        num, num_small = int((in_group & is_unmatched).sum()), int((in_group & is_small).sum())
        if in_group.sum() < MIN_BOXES or num <= MOST * in_group.sum():
            continue
        width, height = np.median(sizes[in_group & is_unmatched], axis=0)
        yield Problem(
            'most boxes without prior',
            root,
            name,
            f'{num} of {in_group.sum()} boxes to train on: {num_small} have a side of less than '
            f'{min_side:g} pixels of the network input, {num - num_small} an IoU of less than '
            f'{positive_iou:g} with every prior; their median is {width:.1f} x {height:.1f} '
            f'pixels, priors have {smallest[0]:.1f} x {smallest[1]:.1f} to {largest[0]:.1f} x '
            f'{largest[1]:.1f}, the finest stride is {min(levels[0].stride):g}',
        )
