"""Draw boxes, ignore regions and points on images, and lay images out on a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
from mnssd_perception.overlay import draw_frame
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]  # RGB

BACKGROUND, TEXT, REGION = (24, 24, 24), (225, 225, 225), (150, 150, 150)
FONT = cv2.FONT_HERSHEY_SIMPLEX
HATCH_PX = 8  # between the lines of an ignore region
GAP_PX, CAPTION_PX, LEGEND_PX = 8, 24, 34


@dataclass(frozen=True)
class Tile:
    """One image of a contact sheet: ``(H, W, 3)`` uint8 RGB, and ASCII text below it."""

    image: NDArray[np.uint8]
    caption: str


def resize_to_width(image: NDArray[np.uint8], width: int) -> tuple[NDArray[np.uint8], float]:
    """Resize an image, and return the copy with the scale."""
    scale = width / image.shape[1]
    size = (width, max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method), scale


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    colours: Sequence[Colour],
    line_width: int = 1,
    rim: bool = True,
) -> None:
    """
    Draw frames around boxes ``(N, 4)`` xyxy in pixels, in place.

    :param rim: draw a dark line around each frame, which shows on a bright ground.
    """
    outwards = np.array([-line_width, -line_width, line_width, line_width])
    for frame, colour in zip((np.rint(boxes).astype(int) + outwards).tolist(), colours):
        draw_frame(image, frame, colour, line_width, rim)


def draw_ignore_regions(image: NDArray[np.uint8], regions: NDArray[np.floating]) -> None:
    """Hatch ``(M, 4)`` xyxy regions, in place."""
    height, width = image.shape[:2]
    limits = (0, 0, 0, 0), (width, height, width, height)
    for x1, y1, x2, y2 in np.clip(np.rint(regions), *limits).astype(int).tolist():
        inside = image[y1:y2, x1:x2]
        rows, columns = np.indices(inside.shape[:2])
        inside[(rows + columns) % HATCH_PX == 0] = REGION
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), REGION, 1)


def draw_points(image: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    """Draw ``(N, 2)`` (x, y) points as grey dots, in place."""
    for x, y in np.rint(points).astype(int).tolist():
        cv2.circle(image, (x, y), 1, REGION, -1)


def contact_sheet(
    tiles: Sequence[Tile], columns: int, legend: Sequence[tuple[str, Colour]] = ()
) -> NDArray[np.uint8]:
    """Lay images of any size out in rows below a legend, as ``(H, W, 3)`` uint8 RGB."""
    columns = max(1, min(columns, len(tiles)))
    column_width = max((tile.image.shape[1] for tile in tiles), default=320) + GAP_PX
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(tile.image.shape[0] for tile in row) + CAPTION_PX + GAP_PX for row in rows]
    tops = np.cumsum([LEGEND_PX, *heights]).tolist()
    sheet = np.full((tops[-1] + GAP_PX, columns * column_width + GAP_PX, 3), BACKGROUND, np.uint8)
    left = GAP_PX
    for name, colour in legend:
        cv2.rectangle(sheet, (left, 10), (left + 14, 24), colour, -1)
        cv2.putText(sheet, name, (left + 20, 22), FONT, 0.5, TEXT, 1, cv2.LINE_AA)
        left += 44 + cv2.getTextSize(name, FONT, 0.5, 1)[0][0]
    for index, tile in enumerate(tiles):
        top = tops[index // columns]
        left = GAP_PX + index % columns * column_width
        height, width = tile.image.shape[:2]
        sheet[top : top + height, left : left + width] = tile.image
        origin = (left + 2, top + height + 16)
        cv2.putText(sheet, tile.caption, origin, FONT, 0.45, TEXT, 1, cv2.LINE_AA)
    return sheet
