"""Boxes, regions and priors drawn on images, and images laid out on a sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
from mnssd_perception.overlay import class_colour
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

INK, PAPER, PRINT, REGION = (16, 16, 16), (24, 24, 24), (225, 225, 225), (150, 150, 150)
FONT = cv2.FONT_HERSHEY_SIMPLEX
HATCH = 8  # pixels between the lines of an ignore region
GAP, CAPTION, LEGEND = 8, 24, 34  # pixels


@dataclass(frozen=True)
class Tile:
    """
    One image of a sheet.

    :ivar image: ``(H, W, 3)`` uint8 RGB.
    :ivar caption: a few words in ASCII to stand below it.
    """

    image: NDArray[np.uint8]
    caption: str


def fit(image: NDArray[np.uint8], width: int) -> tuple[NDArray[np.uint8], float]:
    """
    Bring an image to a width.

    :param image: ``(H, W, 3)`` uint8 RGB.
    :param width: pixels.
    :return: the resized copy, and by how much it was scaled.
    """
    scale = width / image.shape[1]
    size = (width, max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how), scale


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    colours: Sequence[Colour],
    rim: bool = True,
) -> None:
    """
    Draw the outlines of boxes, in place.

    :param image: ``(H, W, 3)`` uint8 RGB.
    :param boxes: ``(N, 4)`` xyxy, pixels.
    :param colours: RGB of each.
    :param rim: with a dark line around each, for bright grounds.
    """
    for (x1, y1, x2, y2), colour in zip(np.rint(boxes).astype(int).tolist(), colours):
        if rim:
            cv2.rectangle(image, (x1 - 2, y1 - 2), (x2 + 1, y2 + 1), INK, 1)
        cv2.rectangle(image, (x1 - 1, y1 - 1), (x2, y2), colour, 1)


def draw_regions(image: NDArray[np.uint8], regions: NDArray[np.floating]) -> None:
    """
    Hatch ignore regions, in place.

    :param image: ``(H, W, 3)`` uint8 RGB.
    :param regions: ``(M, 4)`` xyxy, pixels.
    """
    height, width = image.shape[:2]
    limits = (0, 0, 0, 0), (width, height, width, height)
    for x1, y1, x2, y2 in np.clip(np.rint(regions), *limits).astype(int).tolist():
        inside = image[y1:y2, x1:x2]
        rows, columns = np.indices(inside.shape[:2])
        inside[(rows + columns) % HATCH == 0] = REGION
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), REGION, 1)


def draw_dots(
    image: NDArray[np.uint8], places: NDArray[np.floating], colour: Colour = REGION
) -> None:
    """
    Draw dots, in place.

    :param image: ``(H, W, 3)`` uint8 RGB.
    :param places: ``(N, 2)`` (x, y), pixels.
    :param colour: RGB.
    """
    for x, y in np.rint(places).astype(int).tolist():
        cv2.circle(image, (x, y), 1, colour, -1)


def sheet(
    tiles: Sequence[Tile], columns: int, legend: Sequence[tuple[str, Colour]] = ()
) -> NDArray[np.uint8]:
    """
    Lay images out in rows.

    :param tiles: of any size; none makes a sheet with the legend alone.
    :param columns: images a row.
    :param legend: words and their colours, to stand on top.
    :return: ``(H, W, 3)`` uint8 RGB.
    """
    columns = max(1, min(columns, len(tiles)))
    wide = max((tile.image.shape[1] for tile in tiles), default=320) + GAP
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    highs = [max(tile.image.shape[0] for tile in row) + CAPTION + GAP for row in rows]
    tops = np.cumsum([LEGEND, *highs]).tolist()
    canvas = np.full((tops[-1] + GAP, columns * wide + GAP, 3), PAPER, np.uint8)
    left = GAP
    for words, colour in legend:
        cv2.rectangle(canvas, (left, 10), (left + 14, 24), colour, -1)
        cv2.putText(canvas, words, (left + 20, 22), FONT, 0.5, PRINT, 1, cv2.LINE_AA)
        left += 44 + cv2.getTextSize(words, FONT, 0.5, 1)[0][0]
    for index, tile in enumerate(tiles):
        top = tops[index // columns]
        left = GAP + index % columns * wide
        height, width = tile.image.shape[:2]
        canvas[top : top + height, left : left + width] = tile.image
        place = (left + 2, top + height + 16)
        cv2.putText(canvas, tile.caption, place, FONT, 0.45, PRINT, 1, cv2.LINE_AA)
    return canvas


def legend_of(class_names: Sequence[str]) -> list[tuple[str, Colour]]:
    """
    Make the legend of some classes.

    :param class_names: in the order of their labels.
    :return: words and colours.
    """
    return [(name, class_colour(label)) for label, name in enumerate(class_names)]
