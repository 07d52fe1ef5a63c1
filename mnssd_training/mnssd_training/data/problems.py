"""
The problems that datasets have.

Parsers and the checks of ``mnssd dataset check`` report problems; training reads the same list:
it skips and counts some kinds (:data:`SKIPPED_KINDS`) and refuses the dataset for all other
errors.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import textwrap
from typing import Literal, TypeVar

from mnssd_training.errors import DatasetError

Severity = Literal['error', 'warning', 'note']
Report = Callable[[str, str, str], None]  # kind, location and message of a problem
T = TypeVar('T')
MAX_EXAMPLES = 3  # of skipped items that a note names
MAX_PER_FILE = 10_000  # problems of a kind: a file of 8 MB could hold millions
NOT_LISTED = 'more problems of this kind, which are not listed or counted'
MAX_NAMES = 300  # characters of a class list in a message


@dataclass(frozen=True)
class Problem:
    """
    One problem of a dataset.

    :ivar kind: a key of :data:`HINTS`.
    :ivar file: the file with the problem, or the root of the dataset.
    :ivar location: line, object, annotation or class; empty for the file as a whole.
    """

    kind: str
    file: Path | str
    location: str
    message: str

    @property
    def severity(self) -> Severity:
        """``error`` stops training or makes it wrong, ``warning`` makes it worse."""
        return SEVERITIES[self.kind]


def report_to(problems: list[Problem], file: Path | str) -> Report:
    """Return a function that adds a problem of a file, up to a limit for each kind."""
    counts: Counter[str] = Counter()

    def report(kind: str, location: str, message: str) -> None:
        counts[kind] += 1
        if counts[kind] <= MAX_PER_FILE:
            problems.append(Problem(kind, file, location, message))
        elif counts[kind] == MAX_PER_FILE + 1:
            problems.append(Problem(kind, file, location, f'{message}; the file has {NOT_LISTED}'))

    return report


def try_read(
    kind: str, problems: list[Problem], read: Callable[..., T], *args: object
) -> T | None:
    """Call a function that reads a file; report its :class:`DatasetError` and return None."""
    try:
        return read(*args)
    except DatasetError as error:
        file = error.path if isinstance(error.path, Path) else str(error.path)
        problems.append(Problem(kind, file, '', error.reason))
        return None


def unknown_class(
    file: Path | str, location: str, class_name: str, class_names: Sequence[str]
) -> Problem:
    """Make the problem of an object whose class is not one of those of the dataset or model."""
    known = textwrap.shorten(', '.join(class_names), MAX_NAMES, placeholder=' ...')
    return Problem(
        'unknown class', file, location, f'is of class {class_name!r}; available: {known}'
    )


def refuse_problems(problems: Sequence[Problem], skipped_kinds: Collection[str]) -> None:
    """Raise :class:`DatasetError` for the first error whose kind is not skipped."""
    errors = [p for p in problems if p.severity == 'error' and p.kind not in skipped_kinds]
    if errors:
        first = errors[0]
        num = sum(problem.kind == first.kind for problem in errors)
        location = f'{first.location}: ' if first.location else ''
        counted = f' ({num} problems like this)' if num > 1 else ''
        reason = f'{location}{first.message}{counted}; {HINTS["error"][first.kind]}'
        raise DatasetError(first.file, reason)


def describe_skipped(problems: Sequence[Problem], root: Path) -> list[str]:
    """Count errors by kind, a line each with the first examples; name files from the root."""
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.severity == 'error':
            by_kind.setdefault(problem.kind, []).append(problem)
    return [
        f'skipped {len(same_kind)} x {kind}: '
        + '; '.join(
            f'{relative_to_root(problem.file, root)}: {problem.location}: {problem.message}'
            for problem in same_kind[:MAX_EXAMPLES]
        )
        for kind, same_kind in by_kind.items()
    ]


def relative_to_root(file: Path | str, root: Path) -> str:
    """Name a file from the root of its dataset; a file elsewhere keeps its path."""
    path = Path(file)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(file)


# Errors that training skips and counts, unless data.strict_labels is set.
SKIPPED_KINDS: Mapping[str, frozenset[str]] = {
    'voc': frozenset(),
    'coco': frozenset({'box degenerate'}),
    'yolo': frozenset({
        'bad value', 'not finite', 'unknown class', 'box degenerate', 'box inverted',
        'box off image',
    }),
    'visdrone': frozenset({'box degenerate', 'box off image'}),
}  # fmt: skip

# What to do about each problem, by severity and kind.
HINTS: Mapping[Severity, Mapping[str, str]] = {
    'error': {
        'list unreadable': 'name a split that the dataset has (data.train_split, data.val_split '
        'or --split), and list its images',
        'listed twice': 'keep one of the two',
        'class list wrong': 'list each class name once, one a line',
        'image missing': 'restore the image or take it off the list',
        'image unreadable': 'fetch the image again or leave it out',
        'annotation missing': 'annotate the image or take it off the list',
        'annotation unreadable': 'fetch or export the annotation again',
        'bad value': 'correct the line or the object, or remove it',
        'not finite': 'draw the box again or remove it',
        'id twice': 'give each image and each annotation its own id',
        'unknown image': 'correct the image_id or remove the annotation',
        'unknown class': 'list the class, or rename it by data.class_map, to nothing to ignore it',
        'size differs': 'annotate the image as it is; it may have been resized or rotated since',
        'training refuses': 'correct what the message names',
        'box off image': 'remove the box',
        'box degenerate': 'draw the box again or remove it',
        'box inverted': 'swap its corners, or draw the box again',
        'most boxes without prior': 'enlarge input.size, add a finer stride to priors.strides, or '
        'fit priors to these boxes: mnssd anchors EXPERIMENT prints a section to paste',
        'in two splits': 'take the name off one of the lists',
        'same image in two splits': 'keep it in one split, or scores are wrong',
    },
    'warning': {
        'label file missing': 'annotate the image, or write an empty file for a background image',
        'image without annotation': 'annotate the image or remove it',
        'annotation without image': 'fetch the image or remove the annotation',
        'box outside': 'boxes are clipped to the image; check that it fits the object',
        'box tiny': 'remove it, or make it an ignore region',
        'box covers all': 'check whether it labels the image as a whole',
        'box twice': 'remove one of the two',
        'two classes': 'decide what the object is and remove the other box',
        'size unusual': 'look at it with mnssd dataset preview; it may be mislabelled',
        'shape unusual': 'look at it with mnssd dataset preview; it may be mislabelled',
        'not 8 bit': 'reduce it to 8 bit the way the camera of the drone does',
        'grey among colour': 'check that these images belong to this dataset',
        'colour among grey': 'check that these images belong to this dataset',
        'like image in two splits': 'split by flight, place or time, so that scores hold for new '
        'places',
        'same image twice': 'keep one of them',
        'class only in val': 'find images of it for training',
        'class not in val': 'find images of it for validation',
        'class rare': 'find more of them, or rename the class into another',
    },
    'note': {
        'in no split': 'add the name to a list to use the image',
        'box hidden': 'remove the box or make the ignore region smaller',
        'box small for network': 'use a larger input, or tiles, or leave such boxes out',
        'box without prior': 'fit priors to these boxes; see mnssd anchors',
        'orientation set': 'nothing: mnssd rotates it; other tools may not',
        'grey stored as colour': 'nothing; a grey file would be smaller',
        'like images': 'nothing; video frames add less than their number',
        'class unused': 'leave the class out of a mean over classes',
        'classes unbalanced': 'see loss.class_weights, and look at scores by class',
        'images without boxes': 'good as background, if nothing is there',
    },
}
SEVERITIES = {kind: severity for severity, hints in HINTS.items() for kind in hints}
