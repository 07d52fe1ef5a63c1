"""Write the result of a check as text or as JSON."""

from pathlib import Path
from typing import Any

from mnssd_training.data.problems import HINTS, Problem, relative_to_root
from mnssd_training.inspection.check import CheckResult


def check_text(result: CheckResult, root: Path, max_shown: int) -> str:
    """
    List problems by kind, worst first.

    :param root: files below it are named from there.
    :param max_shown: problems of a kind to list; 0 for all.
    """
    lines = [f'{result.num_images} images, {result.num_boxes} boxes']
    for severity, hints in HINTS.items():
        for kind, hint in hints.items():
            problems = [problem for problem in result.problems if problem.kind == kind]
            if not problems:
                continue
            lines += ['', f'{severity}: {kind} ({len(problems)})']
            shown = problems[: max_shown or None]
            lines += [f'  {_format_problem(problem, root)}' for problem in shown]
            if len(problems) > len(shown):
                lines.append(f'  and {len(problems) - len(shown)} more')
            lines.append(f'  -> {hint}')
    counts = ', '.join(f'{result.count(severity)} {severity}s' for severity in HINTS)
    return '\n'.join([*lines, '', counts])


def _format_problem(problem: Problem, root: Path) -> str:
    file = 'the dataset'
    if Path(problem.file) != root:
        file = relative_to_root(problem.file, root)
    location = f', {problem.location}' if problem.location else ''
    return ' '.join(f'{file}{location}: {problem.message}'.split())


def check_json(result: CheckResult) -> dict[str, Any]:
    """Return the result of a check as plain data."""
    return {
        'num_images': result.num_images,
        'num_boxes': result.num_boxes,
        'counts': {severity: result.count(severity) for severity in HINTS},
        'problems': [
            {
                'severity': problem.severity,
                'kind': problem.kind,
                'file': str(problem.file),
                'location': problem.location,
                'message': problem.message,
            }
            for problem in result.problems
        ],
    }
