"""Draw detections on images."""

from collections.abc import Sequence
from dataclasses import dataclass
import unicodedata

import cv2
from mnssd_perception.ssd import Detections
from mnssd_perception.ssd.boxes import box_area, box_intersection, clip_boxes
import numpy as np
from numpy.typing import NDArray

# Hues that people with any colour vision tell apart (after Okabe and Ito, Color Universal
# Design, 2008), lightened where needed to stand out on dark thermal frames; RGB.
PALETTE = (
    (255, 176, 0),  # amber
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
    (0, 190, 140),  # bluish green
    (224, 120, 186),  # pink
    (242, 110, 40),  # vermilion
    (120, 150, 255),  # blue
    (235, 235, 235),  # white
)
INK = (16, 16, 16)
FONT = cv2.FONT_HERSHEY_SIMPLEX
MAX_HIDDEN = 0.25  # share of an object that a label may hide

Colour = tuple[int, int, int]


def class_colour(label: int) -> Colour:
    """Choose the colour of a class, RGB; always the same for a label."""
    return PALETTE[label % len(PALETTE)]


def draw_detections(
    image: NDArray[np.uint8], detections: Detections, class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """
    Draw boxes with class names and scores on a copy of an image.

    Lines lie around the boxes, so that small objects stay visible, and have a dark rim, so that
    they show on a bright ground as on a dark one; line width and letters grow with the image.
    In a crowd the better detections get the room: others have only their score, or no label.

    :param image: ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8; is not changed.
    :param detections: in pixels of the image.
    :return: ``(H, W, 3)`` RGB uint8.
    """
    is_grey = image.ndim == 2
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if is_grey else image.copy()
    height, width = canvas.shape[:2]
    line = max(1, round(min(height, width) / 300))
    # The outermost pixels of the lines around the boxes, end exclusive.
    frames = np.rint(np.nan_to_num(detections.boxes.astype(np.float64)))
    frames = clip_boxes(frames + np.array([-line, -line, line, line]), width, height)
    colours = [class_colour(int(label)) for label in detections.labels]
    for frame, colour in zip(frames[::-1].astype(int).tolist(), colours[::-1]):
        draw_frame(canvas, frame, colour, line)

    lettering = Lettering.for_image(width, height)
    taken = np.zeros((0, 4))
    for frame, colour, label, score in zip(frames, colours, detections.labels, detections.scores):
        name = class_names[label] if 0 <= label < len(class_names) else str(label)
        # OpenCV draws ASCII letters only.
        name = unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode() or '?'
        percent = f'{100 * float(score):.0f}'
        for text in (f'{name} {percent}', percent):
            positions = _label_positions(frame, lettering.size(text), width, height)
            position = _free_position(positions, taken, frames)
            if position is not None:
                lettering.draw(canvas, text, position.astype(int).tolist(), colour)
                taken = np.vstack([taken, position])
                break
    return canvas


@dataclass(frozen=True)
class Lettering:
    """The size of label letters: scale, thickness of the strokes [pixels], padding [pixels]."""

    scale: float
    thickness: int
    pad: int

    @classmethod
    def for_image(cls, width: int, height: int) -> 'Lettering':
        """Choose the letters for an image of a size."""
        scale = max(0.35, min(width, height) / 1400)
        thickness = max(1, round(scale * 1.4))
        return cls(scale, thickness, thickness + 1)

    def size(self, text: str) -> tuple[int, int]:
        """Compute the (width, height) of a label, pixels."""
        (width, height), base = cv2.getTextSize(text, FONT, self.scale, self.thickness)
        return width + 2 * self.pad, height + base + self.pad

    def draw(self, canvas: NDArray[np.uint8], text: str, box: list[int], colour: Colour) -> None:
        """Draw a label on a ground of a colour."""
        left, top, right, bottom = box
        canvas[top:bottom, left:right] = colour
        (_, height), _ = cv2.getTextSize(text, FONT, self.scale, self.thickness)
        luminance = float(np.dot(colour, (0.299, 0.587, 0.114)))  # ITU-R BT.601
        ink = INK if luminance > 110 else (255, 255, 255)
        origin = left + self.pad, top + self.pad + height
        cv2.putText(canvas, text, origin, FONT, self.scale, ink, self.thickness, cv2.LINE_AA)


def draw_frame(
    image: NDArray[np.uint8],
    frame: list[int],
    colour: Colour,
    line_width: int,
    rim: bool = True,
) -> None:
    """
    Draw a frame, and a dark rim around it, in place.

    :param frame: outer edges of the line, xyxy pixels, end exclusive.
    :param colour: RGB.
    """
    left, top, right, bottom = frame
    lines = [(inset, colour) for inset in range(line_width)]
    for inset, ink in [(-1, INK), *lines] if rim else lines:
        first, last = (left + inset, top + inset), (right - 1 - inset, bottom - 1 - inset)
        if last[0] >= first[0] and last[1] >= first[1]:
            cv2.rectangle(image, first, last, ink, 1, cv2.LINE_8)


def _label_positions(
    frame: NDArray[np.floating], size: tuple[int, int], width: int, height: int
) -> NDArray[np.floating]:
    """List boxes for a label, best first: above, below, right and left of a frame, inside it."""
    left, top, right, bottom = frame.tolist()
    corners = np.array(
        [
            (left, top - size[1] - 1),
            (left, bottom + 1),
            (right + 1, top),
            (left - size[0] - 1, top),
            (left, top),
        ]
    )
    corners = np.clip(corners, 0, np.maximum(np.subtract((width, height), size), 0))
    return np.hstack([corners, corners + size])


def _free_position(
    positions: NDArray[np.floating], taken: NDArray[np.floating], frames: NDArray[np.floating]
) -> NDArray[np.floating] | None:
    """Choose the position that hides no other label and the least of any object, if any."""
    positions = positions[box_intersection(positions, taken).sum(axis=1) == 0]
    areas = np.maximum(box_area(frames), 1)
    hidden = (box_intersection(positions, frames) / areas).max(axis=1)
    positions, hidden = positions[hidden <= MAX_HIDDEN], hidden[hidden <= MAX_HIDDEN]
    return positions[np.argmin(hidden)] if len(positions) else None
