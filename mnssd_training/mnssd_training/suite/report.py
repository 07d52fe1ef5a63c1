"""
The table of a suite: each recipe with the mean and spread of its scores, against the control.

The scores of a run are those of its last evaluation, at the end of training: no checkpoint is
chosen by score. Differences are paired: between runs on the same block with the same seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mnssd_perception.serialization import to_plain
from mnssd_training.reporting.tables import format_markdown, format_score, format_table
from mnssd_training.suite.plan import Suite, SuiteRun
from mnssd_training.suite.status import read_status

COCO_METRICS = {  # title -> field of the COCO metrics
    'AP75': 'ap75',
    'AP small': 'ap_small',
    'AP medium': 'ap_medium',
    'AP large': 'ap_large',
}
SPEEDS = {  # title -> key of the metrics of an epoch, and its decimals
    'images/s': ('images_per_second', 1),
    'waiting for data': ('data_wait', 3),
    'GPU busy': ('gpu_busy', 3),
    'GPU memory [GiB]': ('gpu_memory_gib', 2),
}

Scores = dict[str, float | None]  # by title, in the order of the columns


@dataclass(frozen=True)
class RunResult:
    """A run, with its scores if it has finished."""

    recipe: str
    block: str
    seed: int
    folder: str
    state: str
    reason: str
    images: int
    scores: Scores
    speeds: Scores


@dataclass(frozen=True)
class Spread:
    """Mean of some runs, and their standard deviation, None for a single one."""

    mean: float
    deviation: float | None
    num: int


@dataclass(frozen=True)
class RecipeResult:
    """
    A recipe over its blocks and seeds.

    :ivar images: mean number of training images seen.
    :ivar scores: by title; None where no finished run has the score.
    :ivar differences: to the control, from the pairs of runs that both have finished.
    :ivar speeds: of the last epoch that was reported, also of unfinished runs.
    """

    name: str
    images: float | None
    scores: dict[str, Spread | None]
    differences: dict[str, Spread | None]
    speeds: dict[str, Spread | None]


@dataclass(frozen=True)
class Report:
    """The results of a suite; the first recipe is the control."""

    recipes: tuple[RecipeResult, ...]
    runs: tuple[RunResult, ...]

    @property
    def unfinished(self) -> tuple[RunResult, ...]:
        """The runs without scores."""
        return tuple(run for run in self.runs if not run.scores)


def report_suite(suite: Suite, runs: Sequence[SuiteRun]) -> Report:
    """Read the results of the runs of a suite from their folders."""
    results = tuple(_read_result(run, suite.classes) for run in runs)
    by_recipe = {name: [r for r in results if r.recipe == name] for name in suite.recipes}
    control = next(iter(by_recipe.values()))
    return Report(
        tuple(_summarize(name, runs, control) for name, runs in by_recipe.items()), results
    )


def report_to_json(report: Report) -> dict[str, Any]:
    """Write a report as plain data."""
    plain: dict[str, Any] = to_plain(report)
    return plain


def report_text(report: Report, *, markdown: bool = False) -> str:
    """Lay a report out for a terminal, or as Markdown."""
    layout = format_markdown if markdown else format_table
    parts = [layout(score_table(report)), layout(speed_table(report))]
    bullet = '* ' if markdown else ''
    missing = [
        f'{bullet}no scores: {run.recipe}, block {run.block}, seed {run.seed}: {run.state}'
        f'{f" ({run.reason})" if run.reason else ""}, {run.images} images seen'
        for run in report.unfinished
    ]
    return '\n\n'.join([*parts, *(['\n'.join(missing)] if missing else [])])


def score_table(report: Report) -> list[list[str]]:
    """Make a table of the scores; each recipe but the control has its differences below it."""
    titles = list(dict.fromkeys(title for r in report.recipes for title in r.scores))
    rows = [['recipe', 'runs', 'images seen', *titles]]
    for index, recipe in enumerate(report.recipes):
        num = max((spread.num for spread in recipe.scores.values() if spread), default=0)
        planned = sum(run.recipe == recipe.name for run in report.runs)
        images = 'missing' if recipe.images is None else f'{recipe.images:.0f}'
        scores = [_format_spread(recipe.scores.get(title)) for title in titles]
        rows.append([recipe.name, f'{num}/{planned}', images, *scores])
        if index:
            changes = [_format_spread(recipe.differences.get(t), is_change=True) for t in titles]
            pairs = max((s.num for s in recipe.differences.values() if s), default=0)
            rows.append([f'... against {report.recipes[0].name}', str(pairs), '', *changes])
    return rows


def speed_table(report: Report) -> list[list[str]]:
    """Make a table of the speed of each recipe."""
    rows = [['recipe', *SPEEDS]]
    for recipe in report.recipes:
        values = [
            format_score(spread.mean if spread else None, digits)
            for spread, (_, digits) in zip(recipe.speeds.values(), SPEEDS.values())
        ]
        rows.append([recipe.name, *values])
    return rows


def _read_result(run: SuiteRun, classes: Sequence[str]) -> RunResult:
    status = read_status(run.folder)
    scores = _read_scores(status.evaluated, classes) if status.state == 'success' else {}
    if scores:
        scores[f'AP50 block {run.block}'] = scores['AP50']
    return RunResult(
        run.recipe,
        run.block,
        run.seed,
        str(run.folder),
        status.state,
        status.reason,
        int(status.epoch.get('images', 0)),
        scores,
        {title: status.epoch.get(key) for title, (key, _) in SPEEDS.items()},
    )


def _read_scores(metrics: Mapping[str, Any], classes: Sequence[str]) -> Scores:
    """Collect the columns of a run from its evaluation: means over ``classes``, and all AP50."""
    if not metrics:
        return {}
    ap50: dict[str, float | None] = metrics['ap50']
    chosen = [name for name in ap50 if name in classes] or list(ap50)
    scores: Scores = {'AP50': _mean([ap50[name] for name in chosen])}
    if len(chosen) < len(ap50):
        scores['AP50 all classes'] = _mean(list(ap50.values()))
    scores |= {f'AP50 {name}': value for name, value in ap50.items()}
    coco = metrics['coco']['classes']
    for title, field in COCO_METRICS.items():
        scores[title] = _mean([coco[name][field] for name in chosen])
    for group, part in metrics.get('groups', {}).items():
        scores[f'AP50 {group}'] = _mean([part['ap50'][name] for name in chosen])
    return scores


def _summarize(name: str, runs: Sequence[RunResult], control: Sequence[RunResult]) -> RecipeResult:
    finished = [run for run in runs if run.scores]
    partners = {(run.block, run.seed): run for run in control if run.scores}
    pairs = [
        (run, partners[run.block, run.seed])
        for run in finished
        if (run.block, run.seed) in partners
    ]

    def difference(run: RunResult, other: RunResult, title: str) -> float | None:
        values = run.scores.get(title), other.scores.get(title)
        return None if None in values else values[0] - values[1]  # type: ignore[operator]

    titles = list(dict.fromkeys(title for run in finished for title in run.scores))
    return RecipeResult(
        name,
        _mean([run.images for run in finished]),
        {title: _spread([run.scores.get(title) for run in finished]) for title in titles},
        {title: _spread([difference(*pair, title) for pair in pairs]) for title in titles},
        {title: _spread([run.speeds[title] for run in runs]) for title in SPEEDS},
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    existing = [value for value in values if value is not None]
    if not existing:
        return None
    return Spread(fmean(existing), stdev(existing) if len(existing) > 1 else None, len(existing))


def _format_spread(spread: Spread | None, *, is_change: bool = False) -> str:
    if spread is None:
        return '-'
    text = f'{spread.mean:+.3f}' if is_change else f'{spread.mean:.3f}'
    return text if spread.deviation is None else f'{text} ± {spread.deviation:.3f}'


def _mean(values: Sequence[float | None]) -> float | None:
    existing = [value for value in values if value is not None]
    return fmean(existing) if existing else None
