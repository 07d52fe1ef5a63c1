"""Findings to text that a person reads, and to JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnssd_training.inspection.check import Checked
from mnssd_training.inspection.findings import Finding, KINDS

SEVERITIES = ('error', 'warning', 'note')


def check_text(checked: Checked, root: Path, shown: int) -> str:
    """
    Lay findings out by kind, worst first.

    :param checked: the result of a check.
    :param root: files below it are named from there.
    :param shown: findings of a kind that are named; 0 for all.
    :return: several lines.
    """
    lines = [f'{checked.num_images} images, {checked.num_boxes} boxes']
    for severity in SEVERITIES:
        for kind, what in KINDS.items():
            found = [finding for finding in checked.findings if finding.kind == kind]
            if what.severity == severity and found:
                lines += ['', f'{severity}: {kind} ({len(found)})']
                named = found[: shown or None]
                lines += [f'  {_line(finding, root)}' for finding in named]
                if len(found) > len(named):
                    lines.append(f'  and {len(found) - len(named)} more')
                lines.append(f'  -> {what.hint}')
    return '\n'.join([*lines, '', _summary(checked.findings)])


def check_json(checked: Checked) -> dict[str, Any]:
    """
    Give the result of a check as plain data.

    :param checked: the result.
    :return: counts and all findings.
    """
    return {
        'num_images': checked.num_images,
        'num_boxes': checked.num_boxes,
        'counts': _counts(checked.findings),
        'findings': [
            {'severity': finding.severity, **asdict(finding)} for finding in checked.findings
        ],
    }


def _line(finding: Finding, root: Path) -> str:
    """Say one finding in one line."""
    file = finding.file
    if Path(file) == root:
        file = 'the dataset'
    elif Path(file).is_relative_to(root):
        file = str(Path(file).relative_to(root))
    where = f', {finding.where}' if finding.where else ''
    return ' '.join(f'{file}{where}: {finding.words}'.split())


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Count findings by severity."""
    return {
        severity: sum(finding.severity == severity for finding in findings)
        for severity in SEVERITIES
    }


def _summary(findings: Sequence[Finding]) -> str:
    """Say in one line how it stands."""
    return ', '.join(f'{number} {name}s' for name, number in _counts(findings).items())
