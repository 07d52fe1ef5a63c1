"""Priors to images: beside the sizes of boxes, and on images."""

from collections.abc import Sequence
from math import log2

import cv2
from mnssd_perception.overlay import class_colour
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import (
    FeatureMap,
    generate_priors,
    ModelSpec,
    resize_frame,
    resize_transform,
)
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.inspection.anchors import grid_fit, shown_boxes
from mnssd_training.inspection.drawing import draw_boxes, fit, Tile
import numpy as np
from numpy.typing import NDArray

SIDE, MARGIN = 900, 60  # pixels
GROUND, LINE, PRINT = (24, 24, 24), (60, 60, 60), (200, 200, 200)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LEVEL_COLOURS = (
    (255, 90, 90), (255, 200, 0), (90, 220, 90), (80, 170, 255), (200, 120, 255), (255, 255, 255),
)  # fmt: skip


def level_colour(level: int) -> tuple[int, int, int]:
    """Pick the colour of a level of priors, RGB."""
    return LEVEL_COLOURS[level % len(LEVEL_COLOURS)]


def size_plot(
    sizes: NDArray[np.float64], labels: NDArray[np.int64], levels: Sequence[FeatureMap]
) -> NDArray[np.uint8]:
    """
    Draw widths and heights of boxes as dots, and those of priors as crosses.

    Both axes are logarithmic, in pixels of the network input; dots have the colours of classes,
    crosses those of levels.

    :param sizes: ``(N, 2)`` (width, height) of boxes, pixels of the input.
    :param labels: ``(N,)``.
    :param levels: of priors.
    :return: ``(H, W, 3)`` uint8 RGB.
    """
    priors = [size for level in levels for size in level.sizes]
    everything = np.concatenate((sizes, np.array(priors).reshape(-1, 2)))
    low = max(float(everything.min(initial=1e9)), 0.5) / 1.3
    high = float(everything.max(initial=1.0)) * 1.3
    span = log2(high / low)

    def place(width: float, height: float) -> tuple[int, int]:
        x, y = (log2(max(side, low) / low) / span for side in (width, height))
        return round(MARGIN + x * (SIDE - MARGIN - 10)), round(SIDE - MARGIN - y * (SIDE - 70))

    plot = np.full((SIDE, SIDE, 3), GROUND, np.uint8)
    for exponent in range(int(log2(low)) + 1, int(log2(high)) + 1):
        at = place(2.0**exponent, 2.0**exponent)
        cv2.line(plot, (at[0], 10), (at[0], SIDE - MARGIN), LINE, 1)
        cv2.line(plot, (MARGIN, at[1]), (SIDE - 10, at[1]), LINE, 1)
        words = str(2**exponent)
        cv2.putText(plot, words, (at[0] - 8, SIDE - 36), FONT, 0.45, PRINT, 1, cv2.LINE_AA)
        cv2.putText(plot, words, (18, at[1] + 5), FONT, 0.45, PRINT, 1, cv2.LINE_AA)
    for words, at in (
        ('width, pixels of the network input', (300, SIDE - 12)),
        ('height', (6, 22)),
    ):
        cv2.putText(plot, words, at, FONT, 0.5, PRINT, 1, cv2.LINE_AA)
    for (width, height), label in zip(sizes.tolist(), labels.tolist()):
        cv2.circle(plot, place(width, height), 1, class_colour(label), -1)
    for index, level in enumerate(levels):
        for width, height in level.sizes:
            at = place(width, height)
            cv2.drawMarker(plot, at, GROUND, cv2.MARKER_CROSS, 19, 5)
            cv2.drawMarker(plot, at, level_colour(index), cv2.MARKER_CROSS, 17, 2)
    return plot


def priors_on_photograph(sample: Sample, spec: ModelSpec, width: int) -> Tile:
    """
    Draw the objects of an image, white, each with the prior that fits it best.

    :param sample: which.
    :param spec: the model.
    :param width: of the image, pixels.
    :return: the image.
    :raises DatasetError: if the image cannot be read.
    """
    plan = resize_transform(sample.size, spec.input_size, spec.resize)
    canvas, zoom = fit(resize_frame(load_image(sample), plan), width)
    boxes = shown_boxes([sample], spec)[0]
    found = grid_fit(boxes, spec)
    scale = np.array(spec.input_size[::-1] * 2, np.float64) * zoom
    edges = boxes_of.cxcywh_to_xyxy(generate_priors(spec)[found.prior]) * scale
    draw_boxes(canvas, edges, [level_colour(int(level)) for level in found.level])
    draw_boxes(canvas, boxes * zoom, [(255, 255, 255)] * len(boxes), rim=False)
    mean = f'mean IoU {found.best.mean():.2f}' if len(boxes) else 'no object'
    return Tile(canvas, f'{sample.name}  {len(boxes)} objects, {mean}')


def cell_of_each_level(spec: ModelSpec, width: int) -> list[Tile]:
    """
    Draw the priors of one cell, in the middle of the network input, for each level.

    :param spec: the model.
    :param width: of an image, pixels.
    :return: an image a level, with the grid.
    """
    tiles = []
    for index, level in enumerate(spec.feature_maps):
        height, wide = spec.input_size
        zoom = width / wide
        canvas = np.full((round(height * zoom), width, 3), GROUND, np.uint8)
        centres = [
            (np.arange(number) + 0.5) * step * zoom
            for number, step in zip(level.shape, level.stride)
        ]
        for y in centres[0]:
            canvas[min(int(y), canvas.shape[0] - 1), :] = LINE
        for x in centres[1]:
            canvas[:, min(int(x), width - 1)] = LINE
        middle = np.array([centres[1][level.shape[1] // 2], centres[0][level.shape[0] // 2]])
        half = np.array(level.sizes) * zoom / 2
        edges = np.concatenate((middle - half, middle + half), axis=1)
        draw_boxes(canvas, edges, [level_colour(index)] * len(edges))
        words = f'stride {level.stride[1]:g}: {len(level.sizes)} a cell, {level.num_priors} priors'
        tiles.append(Tile(canvas, words))
    return tiles
