"""Check datasets for everything that stops training or makes it worse."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnssd_perception.errors import MnssdError
from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, SourceConfig
from mnssd_training.data.problems import HINTS, Problem, relative_to_root, Severity
from mnssd_training.data.remote import ShardEntry
from mnssd_training.data.sources import read_samples
from mnssd_training.data.text_files import DirectoryIndex
from mnssd_training.inspection import check_boxes, check_images
from mnssd_training.inspection.check_network import check_network
from mnssd_training.inspection.image_boxes import CheckedImage, measure_boxes, TRAIN, VAL
from mnssd_training.inspection.image_facts import ImageFacts, read_all_image_facts
from mnssd_training.inspection.records import read_records


@dataclass(frozen=True)
class CheckResult:
    """The problems of datasets, in the order of the checks."""

    num_images: int
    num_boxes: int  # including ignore regions
    problems: tuple[Problem, ...]

    def count(self, severity: Severity) -> int:
        """Count the problems of one severity."""
        return sum(problem.severity == severity for problem in self.problems)


def check(
    sources: Sequence[SourceConfig],
    splits: Sequence[str] = (),
    class_names: Sequence[str] = (),
    experiment: Experiment | None = None,
    workers: int = 1,
    progress: Callable[..., Iterable[ImageFacts]] = lambda facts, total: facts,
) -> CheckResult:
    """
    Find all problems of datasets that are trained on together.

    :param splits: to check; empty for the training and validation split of each dataset.
    :param class_names: of the model; empty for those of each dataset.
    :param experiment: check the boxes against its network and priors.
    :param progress: wraps the iterator over images, as tqdm does.
    :raises DatasetError: if there is no such folder.
    """
    problems: list[Problem] = []
    records = []
    listed: dict[str, None] = dict.fromkeys(class_names)
    for source in sources:
        # The lists used for training and validation count as train and val, whatever their names.
        roles = {} if splits else {source.train_split: TRAIN, source.val_split: VAL}
        dataset = read_records(source, splits or _used_splits(source), class_names)
        problems += dataset.problems
        records += [(roles.get(split, split), record) for split, record in dataset.images]
        if not class_names:
            listed |= dict.fromkeys(dataset.class_names)
    names, index = list(listed), DirectoryIndex()
    unique_paths = dict.fromkeys(record.path for _, record in records)
    paths = [path for path in unique_paths if isinstance(path, ShardEntry) or index.has(path)]
    all_facts = progress(read_all_image_facts(paths, workers), total=len(paths))
    facts = {image.path: image for image in all_facts}
    images = [CheckedImage(split, record, facts.get(record.path)) for split, record in records]
    for image in images:
        problems += check_images.check_image(image)
    problems += check_images.check_colours(images)
    problems += check_images.check_splits(images)
    problems += check_images.check_duplicates(images)
    measured = measure_boxes(images, names)
    for boxes in measured:
        problems += check_boxes.check_boxes(boxes)
        problems += check_boxes.check_pairs(boxes, names)
    problems += check_boxes.check_unusual(measured, names)
    root = mask_secrets(', '.join(source.root for source in sources))
    problems += check_boxes.check_classes(measured, names, root)
    problems += check_boxes.check_empty(measured, root)
    if experiment is not None:
        problems += check_network(measured, experiment, names, root)
    if all(problem.severity != 'error' for problem in problems):
        problems += _check_training(sources, splits, class_names)
    num_boxes = sum(len(record.boxes) for _, record in records)
    return CheckResult(len(records), num_boxes, tuple(problems))


def _used_splits(source: SourceConfig) -> list[str]:
    return [split for split in (source.train_split, source.val_split) if split]


def _check_training(
    sources: Sequence[SourceConfig], splits: Sequence[str], class_names: Sequence[str]
) -> Iterator[Problem]:
    """Read datasets without errors as training does, so that nothing it refuses is missed."""
    for source in sources:
        for split in splits or _used_splits(source):
            try:
                read_samples(source, split, class_names)
            except MnssdError as error:
                file = str(getattr(error, 'path', source.root))
                message = str(error).removeprefix(f'{file}: ')
                yield Problem('training refuses', file, split, message)


def check_text(result: CheckResult, root: Path, max_shown: int) -> str:
    """List problems by kind, worst first: at most ``max_shown`` of a kind, or all for 0."""
    lines = [f'{result.num_images} images, {result.num_boxes} boxes']
    for severity, hints in HINTS.items():
        for kind, hint in hints.items():
            problems = [problem for problem in result.problems if problem.kind == kind]
            if not problems:
                continue
            lines += ['', f'{severity}: {kind} ({len(problems)})']
            shown = problems[: max_shown or None]
            for problem in shown:
                is_root = Path(problem.file) == root
                file = 'the dataset' if is_root else relative_to_root(problem.file, root)
                location = f', {problem.location}' if problem.location else ''
                lines.append('  ' + ' '.join(f'{file}{location}: {problem.message}'.split()))
            if len(problems) > len(shown):
                lines.append(f'  and {len(problems) - len(shown)} more')
            lines.append(f'  -> {hint}')
    counts = ', '.join(f'{result.count(severity)} {severity}s' for severity in HINTS)
    return '\n'.join([*lines, '', counts])


def check_json(result: CheckResult) -> dict[str, Any]:
    """Return the result of a check as plain data."""
    return {
        'num_images': result.num_images,
        'num_boxes': result.num_boxes,
        'counts': {severity: result.count(severity) for severity in HINTS},
        'problems': [
            {'severity': problem.severity, **vars(problem), 'file': str(problem.file)}
            for problem in result.problems
        ],
    }
