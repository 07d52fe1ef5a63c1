"""Draw priors (anchors) beside the sizes of boxes, and on images."""

from collections.abc import Sequence
from itertools import cycle

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import (
    FeatureMap,
    generate_priors,
    ModelSpec,
    resize_frame,
    resize_transform,
)
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.inspection.anchors import boxes_in_network, match_grid
from mnssd_training.reporting import drawing, plots
import numpy as np
from numpy.typing import NDArray

BACKGROUND, GRID, WHITE = (24, 24, 24), (60, 60, 60), (255, 255, 255)
LEVEL_COLOURS = (
    (255, 90, 90), (255, 200, 0), (90, 220, 90), (80, 170, 255), (200, 120, 255), WHITE,
)  # fmt: skip


def level_colour(level: int) -> tuple[int, int, int]:
    """Pick the RGB colour of a level of priors."""
    return LEVEL_COLOURS[level % len(LEVEL_COLOURS)]


def plot_sizes(
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    levels: Sequence[FeatureMap],
) -> NDArray[np.uint8]:
    """
    Plot the sizes of boxes as dots by class, and those of priors as black markers by level.

    :param sizes: ``(N, 2)`` (width, height) of boxes, pixels of the network input.
    :return: ``(900, 900, 3)`` uint8 RGB.
    """
    lines = []
    for label, name in enumerate(class_names):
        x, y = sizes[labels == label].T
        if len(x):
            lines.append(plots.Line(x, y, name, plots.line_style(label)[0], 'none', '.'))
    for level, marker in zip(levels, cycle('XP^sD*')):
        name = f'priors of stride {level.stride[0]:g}'
        x, y = np.array(level.sizes).T
        lines.append(plots.Line(x, y, name, 'black', 'none', marker))
    title, unit = 'sizes of boxes and priors', 'pixels of the network input'
    chart = plots.line_chart(
        title, f'width, {unit}', f'height, {unit}', lines,
        x_range=None, y_range=None, scales=('log', 'log'),
    )  # fmt: skip
    return plots.chart_image(chart, 900, 900)


def draw_matched_priors(sample: Sample, spec: ModelSpec, width: int) -> drawing.Tile:
    """Draw the objects of an image, white, each with the prior that fits it best."""
    plan = resize_transform(sample.size, spec.input_size, spec.resize)
    canvas, zoom = drawing.resize_to_width(resize_frame(load_image(sample), plan), width)
    boxes, _ = boxes_in_network([sample], spec)
    match = match_grid(boxes, spec)
    scale = np.array(spec.input_size[::-1] * 2, np.float64) * zoom
    priors = box_ops.cxcywh_to_xyxy(generate_priors(spec)[match.prior]) * scale
    drawing.draw_boxes(canvas, priors, [level_colour(int(level)) for level in match.level])
    drawing.draw_boxes(canvas, boxes * zoom, [WHITE] * len(boxes), rim=False)
    mean = f'mean IoU {match.iou.mean():.2f}' if len(boxes) else 'no object'
    return drawing.Tile(canvas, f'{sample.name}  {len(boxes)} objects, {mean}')


def draw_level_priors(spec: ModelSpec, width: int) -> list[drawing.Tile]:
    """Draw for each level the grid and the priors of one cell in the middle of the input."""
    tiles = []
    input_height, input_width = spec.input_size
    zoom = width / input_width
    for index, level in enumerate(spec.feature_maps):
        canvas = np.full((round(input_height * zoom), width, 3), BACKGROUND, np.uint8)
        rows, columns = (
            (np.arange(num) + 0.5) * stride * zoom
            for num, stride in zip(level.shape, level.stride)
        )
        canvas[np.minimum(rows.astype(int), len(canvas) - 1)] = GRID
        canvas[:, np.minimum(columns.astype(int), width - 1)] = GRID
        centre = np.array([columns[level.shape[1] // 2], rows[level.shape[0] // 2]])
        half = np.array(level.sizes) * zoom / 2
        boxes = np.concatenate((centre - half, centre + half), axis=1)
        drawing.draw_boxes(canvas, boxes, [level_colour(index)] * len(boxes))
        counts = f'{len(level.sizes)} per cell, {level.num_priors} priors'
        tiles.append(drawing.Tile(canvas, f'stride {level.stride[1]:g}: {counts}'))
    return tiles
