"""Detections drawn on an image."""

from collections.abc import Sequence
import unicodedata

import cv2
from mnssd_perception.ssd import Detections
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

# Share of an object that a label may hide.
MAX_HIDDEN = 0.25


def class_colour(label: int) -> tuple[int, int, int]:
    """
    Pick the colour of a class.

    :param label: the class, from 0.
    :return: RGB, 0 to 255; always the same for a class.
    """
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
    :param detections: what was found, in pixels of the image.
    :param class_names: by label.
    :return: ``(H, W, 3)`` RGB uint8.
    """
    is_grey = image.ndim == 2
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if is_grey else image.copy()
    height, width = canvas.shape[:2]
    line = max(1, round(min(height, width) / 300))
    frames = _frames(detections.boxes, line, width, height)
    colours = [class_colour(int(label)) for label in detections.labels]
    for frame, colour in zip(frames[::-1].tolist(), colours[::-1]):
        draw_frame(canvas, frame, colour, line)
    taken = np.zeros((0, 4), int)
    for index, (frame, colour) in enumerate(zip(frames, colours)):
        label = int(detections.labels[index])
        name = class_names[label] if 0 <= label < len(class_names) else str(label)
        score = f'{100 * float(detections.scores[index]):.0f}'
        for text in (f'{_plain_letters(name)} {score}', score):
            plate = _free_plate(_plates(frame, text, width, height), taken, frames)
            if plate is not None:
                _write(canvas, text, plate, colour)
                taken = np.vstack([taken, plate])
                break
    return canvas


def _frames(boxes: NDArray[np.float32], line: int, width: int, height: int) -> NDArray[np.int64]:
    """Find the outermost pixels of the lines around boxes: ``(N, 4)`` xyxy, end exclusive."""
    outwards = np.array([-line, -line, line, line])
    pixels = np.rint(np.nan_to_num(boxes.astype(np.float64))) + outwards
    return np.clip(pixels, 0, [width, height, width, height]).astype(np.int64)


def draw_frame(
    image: NDArray[np.uint8],
    frame: list[int],
    colour: tuple[int, int, int],
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


def _plates(frame: NDArray[np.int64], text: str, width: int, height: int) -> NDArray[np.int64]:
    """
    List where the label of a frame may go, best place first.

    :return: ``(K, 4)`` xyxy: above, below, right and left of the frame, shifted into the image.
    """
    scale, thickness, pad = _lettering(width, height)
    (text_width, text_height), base = cv2.getTextSize(text, FONT, scale, thickness)
    size = np.array([text_width + 2 * pad, text_height + base + pad])
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
    corners = np.clip(corners, 0, np.maximum([width, height] - size, 0))
    return np.hstack([corners, corners + size])


def _free_plate(
    plates: NDArray[np.int64], taken: NDArray[np.int64], frames: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Choose the plate that hides no label and least of any object, if there is one."""
    plates = plates[_overlaps(plates, taken).sum(axis=1) == 0]
    areas = np.maximum(np.prod(frames[:, 2:] - frames[:, :2], axis=1), 1)
    hidden = (_overlaps(plates, frames) / areas).max(axis=1)
    plates, hidden = plates[hidden <= MAX_HIDDEN], hidden[hidden <= MAX_HIDDEN]
    return plates[np.argmin(hidden)] if len(plates) else None


def _overlaps(plates: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Measure the areas that plates share with others: ``(K, N)``."""
    first = np.maximum(plates[:, None, :2], others[None, :, :2])
    last = np.minimum(plates[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(last - first, 0), axis=2)


def _lettering(width: int, height: int) -> tuple[float, int, int]:
    """Choose the scale of the letters, the thickness of their strokes and the padding."""
    scale = max(0.35, min(width, height) / 1400)
    thickness = max(1, round(scale * 1.4))
    return scale, thickness, thickness + 1


def _write(
    canvas: NDArray[np.uint8], text: str, plate: NDArray[np.int64], colour: tuple[int, int, int]
) -> None:
    """Write a text on a plate in the colour of its class."""
    scale, thickness, pad = _lettering(canvas.shape[1], canvas.shape[0])
    left, top, right, bottom = plate.tolist()
    canvas[top:bottom, left:right] = colour
    (_, text_height), _ = cv2.getTextSize(text, FONT, scale, thickness)
    ink = INK if _luminance(colour) > 110 else (255, 255, 255)
    origin = left + pad, top + pad + text_height
    cv2.putText(canvas, text, origin, FONT, scale, ink, thickness, cv2.LINE_AA)


def _luminance(colour: tuple[int, int, int]) -> float:
    """Weigh the channels of an RGB colour as the eye does (ITU-R BT.601)."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def _plain_letters(name: str) -> str:
    """Spell a name in the ASCII letters that OpenCV can draw."""
    return unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode() or '?'
