"""What may be wrong with a dataset, and what to do about each of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal['error', 'warning', 'note']


@dataclass(frozen=True)
class Kind:
    """
    A kind of fault.

    :ivar severity: ``error`` stops training or makes it wrong, ``warning`` makes it worse, and a
        ``note`` is worth knowing.
    :ivar way_out: what to do about it.
    """

    severity: Severity
    hint: str


@dataclass(frozen=True)
class Finding:
    """
    One fault.

    :ivar kind: a key of :data:`KINDS`.
    :ivar file: the file that is wrong.
    :ivar where: the line, object or annotation in it; empty for the file as a whole.
    :ivar words: what is wrong.
    """

    kind: str
    file: str
    where: str
    words: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self.kind].severity


def count_errors(findings: Iterable[Finding]) -> int:
    """Count what stops training or makes it wrong."""
    return sum(finding.severity == 'error' for finding in findings)


def count_warnings(findings: Iterable[Finding]) -> int:
    """Count what makes training worse."""
    return sum(finding.severity == 'warning' for finding in findings)


KINDS: dict[str, Kind] = {
    # --- files ---
    'list unreadable': Kind('error', 'name the split as its list is called, or write the list'),
    'listed twice': Kind('error', 'keep one of the lines'),
    'class list wrong': Kind('error', 'write each class name once, one a line'),
    'image missing': Kind('error', 'put the image back or take its name off the list'),
    'image unreadable': Kind('error', 'fetch the image anew or leave it out'),
    'annotation missing': Kind('error', 'annotate the image or take it off the list'),
    'annotation unreadable': Kind('error', 'fetch or export the annotation anew'),
    'label file missing': Kind(
        'warning', 'annotate the image, or write an empty file: it is trained on as background'
    ),
    'image without annotation': Kind('warning', 'annotate the image or remove it'),
    'annotation without image': Kind('warning', 'fetch the image or remove the annotation'),
    'in no split': Kind('note', 'put the name on a list if the image is to be used'),
    # --- what annotations say ---
    'bad value': Kind('error', 'correct the line or the object, or remove it'),
    'not finite': Kind('error', 'draw the box anew or remove it'),
    'id twice': Kind('error', 'give each image and each annotation an id of its own'),
    'unknown class': Kind('error', 'add the class to the list, or rename it in data.class_map'),
    'size differs': Kind(
        'error', 'annotate the image as it is; it may have been resized or turned since'
    ),
    'reader refuses': Kind('error', 'do what the reader says; training would stop there'),
    # --- boxes ---
    'box off image': Kind('error', 'remove the box'),
    'box outside': Kind('warning', 'readers cut it at the edges; look whether it fits the object'),
    'box degenerate': Kind('error', 'draw the box anew or remove it'),
    'box tiny': Kind('warning', 'remove it, or make it an ignore region'),
    'box covers all': Kind('warning', 'look whether it is a label of the whole image'),
    'box twice': Kind('warning', 'remove one of the two'),
    'two classes': Kind('warning', 'decide what the object is and remove the other box'),
    'box hidden': Kind('note', 'remove the box or make the ignore region smaller'),
    'size unusual': Kind(
        'warning', 'look at the object with mnssd dataset preview; it may be mislabelled'
    ),
    'shape unusual': Kind('warning', 'look at the object with mnssd dataset preview'),
    'most boxes without prior': Kind(
        'error',
        'enlarge input.size, add a finer stride to priors.strides, or lay priors out for these '
        'boxes: mnssd anchors EXPERIMENT prints a section to paste',
    ),
    'box small for network': Kind('note', 'use a larger input, or tiles, or leave such boxes out'),
    'box without prior': Kind('note', 'lay priors out for these boxes; see mnssd anchors'),
    # --- images ---
    'orientation set': Kind('note', 'nothing for mnssd, which turns it; other tools may not'),
    'not 8 bit': Kind('warning', 'reduce it to 8 bit the way the camera of the drone does'),
    'grey among colour': Kind('warning', 'check that these images belong to this dataset'),
    'colour among grey': Kind('warning', 'check that these images belong to this dataset'),
    'grey stored as colour': Kind('note', 'nothing; a grey file would be smaller'),
    # --- splits ---
    'in two splits': Kind('error', 'take the name off one of the lists'),
    'same image in two splits': Kind('error', 'keep it in one split, or scores mean nothing'),
    'like image in two splits': Kind(
        'warning', 'split by flight, place or time, so that scores tell of unseen places'
    ),
    'same image twice': Kind('warning', 'keep one of them'),
    'like images': Kind('note', 'nothing; frames of a video say less than their number'),
    # --- classes ---
    'class unused': Kind('note', 'leave the class out of a mean over classes'),
    'class only in val': Kind('warning', 'find images of it to train on'),
    'class not in val': Kind('warning', 'find images of it to score on'),
    'class rare': Kind('warning', 'find more of them, or rename the class into another'),
    'classes unbalanced': Kind('note', 'see loss.class_weights, and look at scores by class'),
    'images without boxes': Kind('note', 'good as background, if there is really nothing there'),
}
