"""
The problems that datasets have.

Parsers and the checks of ``mnssd dataset check`` report problems; training reads the same list:
it skips and counts some kinds (:data:`SKIPPED_KINDS`) and refuses the dataset for all other
errors.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from mnssd_training.errors import DatasetError

Severity = Literal['error', 'warning', 'note']
T = TypeVar('T')
MAX_EXAMPLES = 3  # of skipped items that a note names


@dataclass(frozen=True)
class ProblemKind:
    """
    What problems of one kind have in common.

    :ivar severity: ``error`` stops training or makes it wrong, ``warning`` makes it worse, and a
        ``note`` is worth knowing.
    :ivar hint: what to do about it.
    """

    severity: Severity
    hint: str


@dataclass(frozen=True)
class Problem:
    """
    One problem of a dataset.

    :ivar kind: a key of :data:`PROBLEM_KINDS`.
    :ivar file: the file with the problem, or the root of the dataset.
    :ivar location: line, object, annotation or class; empty for the file as a whole.
    :ivar message: what was expected, and what was received.
    """

    kind: str
    file: Path | str
    location: str
    message: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return PROBLEM_KINDS[self.kind].severity


def try_read(
    kind: str, problems: list[Problem], read: Callable[..., T], *args: object
) -> T | None:
    """Call a function that reads a file; report its :class:`DatasetError` and return None."""
    try:
        return read(*args)
    except DatasetError as error:
        file = error.path if isinstance(error.path, Path) else str(error.path)
        problems.append(Problem(kind, file, '', str(error).removeprefix(f'{file}: ')))
        return None


def refuse_problems(problems: Sequence[Problem], skipped_kinds: Collection[str]) -> None:
    """
    Raise for the first error among problems.

    :param skipped_kinds: kinds of errors to accept.
    :raises DatasetError: naming the file, the location, and how many more there are of its kind.
    """
    errors = [p for p in problems if p.severity == 'error' and p.kind not in skipped_kinds]
    if errors:
        first = errors[0]
        num = sum(problem.kind == first.kind for problem in errors)
        location = f'{first.location}: ' if first.location else ''
        counted = f' ({num} problems like this)' if num > 1 else ''
        hint = PROBLEM_KINDS[first.kind].hint
        raise DatasetError(first.file, f'{location}{first.message}{counted}; {hint}')


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

PROBLEM_KINDS: dict[str, ProblemKind] = {
    # --- files ---
    'list unreadable': ProblemKind(
        'error',
        'set data.train_split and data.val_split to the names or paths of lists that exist',
    ),
    'listed twice': ProblemKind('error', 'keep one of the two'),
    'class list wrong': ProblemKind('error', 'list each class name once, one a line'),
    'image missing': ProblemKind('error', 'restore the image or take it off the list'),
    'image unreadable': ProblemKind('error', 'fetch the image again or leave it out'),
    'annotation missing': ProblemKind('error', 'annotate the image or take it off the list'),
    'annotation unreadable': ProblemKind('error', 'fetch or export the annotation again'),
    'label file missing': ProblemKind(
        'warning', 'annotate the image, or write an empty file: it is trained on as background'
    ),
    'image without annotation': ProblemKind('warning', 'annotate the image or remove it'),
    'annotation without image': ProblemKind('warning', 'fetch the image or remove the annotation'),
    'in no split': ProblemKind('note', 'add the name to a list to use the image'),
    # --- content of annotations ---
    'bad value': ProblemKind('error', 'correct the line or the object, or remove it'),
    'not finite': ProblemKind('error', 'draw the box again or remove it'),
    'id twice': ProblemKind('error', 'give each image and each annotation its own id'),
    'unknown image': ProblemKind('error', 'correct the image_id or remove the annotation'),
    'unknown class': ProblemKind(
        'error',
        'add the class to the list, or give it another name by data.class_map, an empty one to '
        'ignore it',
    ),
    'size differs': ProblemKind(
        'error', 'annotate the image as it is; it may have been resized or rotated since'
    ),
    'training refuses': ProblemKind('error', 'correct what the message names'),
    # --- boxes ---
    'box off image': ProblemKind('error', 'remove the box'),
    'box outside': ProblemKind(
        'warning', 'boxes are clipped to the image; check that it fits the object'
    ),
    'box degenerate': ProblemKind('error', 'draw the box again or remove it'),
    'box inverted': ProblemKind('error', 'swap its corners, or draw the box again'),
    'box tiny': ProblemKind('warning', 'remove it, or make it an ignore region'),
    'box covers all': ProblemKind('warning', 'check whether it labels the image as a whole'),
    'box twice': ProblemKind('warning', 'remove one of the two'),
    'two classes': ProblemKind('warning', 'decide what the object is and remove the other box'),
    'box hidden': ProblemKind('note', 'remove the box or make the ignore region smaller'),
    'size unusual': ProblemKind(
        'warning', 'look at the object with mnssd dataset preview; it may be mislabelled'
    ),
    'shape unusual': ProblemKind(
        'warning', 'look at the object with mnssd dataset preview; it may be mislabelled'
    ),
    'most boxes without prior': ProblemKind(
        'error',
        'enlarge input.size, add a finer stride to priors.strides, or fit priors to these '
        'boxes: mnssd anchors EXPERIMENT prints a section to paste',
    ),
    'box small for network': ProblemKind(
        'note', 'use a larger input, or tiles, or leave such boxes out'
    ),
    'box without prior': ProblemKind('note', 'fit priors to these boxes; see mnssd anchors'),
    # --- images ---
    'orientation set': ProblemKind('note', 'nothing: mnssd rotates it; other tools may not'),
    'not 8 bit': ProblemKind('warning', 'reduce it to 8 bit the way the camera of the drone does'),
    'grey among colour': ProblemKind('warning', 'check that these images belong to this dataset'),
    'colour among grey': ProblemKind('warning', 'check that these images belong to this dataset'),
    'grey stored as colour': ProblemKind('note', 'nothing; a grey file would be smaller'),
    # --- splits ---
    'in two splits': ProblemKind('error', 'take the name off one of the lists'),
    'same image in two splits': ProblemKind('error', 'keep it in one split, or scores are wrong'),
    'like image in two splits': ProblemKind(
        'warning', 'split by flight, place or time, so that scores hold for new places'
    ),
    'same image twice': ProblemKind('warning', 'keep one of them'),
    'like images': ProblemKind('note', 'nothing; video frames add less than their number'),
    # --- classes ---
    'class unused': ProblemKind('note', 'leave the class out of a mean over classes'),
    'class only in val': ProblemKind('warning', 'find images of it for training'),
    'class not in val': ProblemKind('warning', 'find images of it for validation'),
    'class rare': ProblemKind('warning', 'find more of them, or rename the class into another'),
    'classes unbalanced': ProblemKind(
        'note', 'see loss.class_weights, and look at scores by class'
    ),
    'images without boxes': ProblemKind('note', 'good as background, if nothing is there'),
}
