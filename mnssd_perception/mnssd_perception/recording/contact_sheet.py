"""Write a contact sheet: one image with some frames of a clip."""

from math import ceil
from pathlib import Path

import cv2
from mnssd_perception.errors import RecordingError
from mnssd_perception.recording.folder import writing
from mnssd_perception.ssd import fit_size, resize_image
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

COLUMNS, ROWS = 3, 4
TILE_WIDTH, MAX_TILE_HEIGHT = 560, 840
GAP = 8
CAPTION_HEIGHT = 26
BACKGROUND, TEXT_COLOUR = (24, 24, 24), (225, 225, 225)


class ContactSheet:
    """
    Keeps frames that are spread evenly over a clip of unknown length.

    Every n-th frame is kept; when there are too many, every second one is dropped and n doubles.
    """

    def __init__(self, num_tiles: int = COLUMNS * ROWS) -> None:
        self._num_tiles = num_tiles
        self._tiles: list[tuple[Image, str]] = []
        self._every = 1
        self._num_frames = 0

    def add(self, image: Image, caption: str) -> None:
        """Add an ``(H, W, 3)`` uint8 BGR frame with an ASCII caption; a scaled copy is kept."""
        if self._num_frames % self._every == 0:
            size = fit_size(image.shape[:2], (MAX_TILE_HEIGHT, TILE_WIDTH))
            self._tiles.append((resize_image(image, size), caption))
            if len(self._tiles) >= 2 * self._num_tiles:
                self._tiles = self._tiles[::2]
                self._every *= 2
        self._num_frames += 1

    def write(self, path: Path) -> None:
        """Write the sheet as JPEG, or raise RecordingError; without a frame nothing is written."""
        if not self._tiles:
            return
        num = min(self._num_tiles, len(self._tiles))
        selected = np.linspace(0, len(self._tiles) - 1, num).round().astype(int)
        okay, data = cv2.imencode('.jpg', _arrange([self._tiles[index] for index in selected]))
        with writing(path):
            path.write_bytes(data.tobytes())
        if not okay:
            raise RecordingError(f"cannot encode '{path}'")


def _arrange(tiles: list[tuple[Image, str]]) -> Image:
    columns = min(COLUMNS, len(tiles))
    cell_height = max(image.shape[0] for image, _ in tiles) + CAPTION_HEIGHT + GAP
    cell_width = TILE_WIDTH + GAP
    shape = ceil(len(tiles) / columns) * cell_height + GAP, columns * cell_width + GAP, 3
    sheet = np.full(shape, BACKGROUND, np.uint8)
    for index, (image, caption) in enumerate(tiles):
        top = GAP + index // columns * cell_height
        left = GAP + index % columns * cell_width
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
        origin, font = (left + 2, top + image.shape[0] + 18), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(sheet, caption, origin, font, 0.5, TEXT_COLOUR, 1, cv2.LINE_AA)
    return sheet
