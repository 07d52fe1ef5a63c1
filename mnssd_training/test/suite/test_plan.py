"""Suite files and the runs that they plan."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from mnssd_training.errors import ConfigError
from mnssd_training.suite import load_suite, plan_runs, shipped_suites, SuiteRun
import pytest

MakeRuns = Callable[..., tuple[SuiteRun, ...]]


def test_suite_without_recipes_is_refused(make_runs: MakeRuns) -> None:
    with pytest.raises(ConfigError, match=r'tiny\.yaml.*: recipes: .*at least 1'):
        make_runs(recipes={})


def test_each_recipe_runs_on_each_block_with_each_seed(make_runs: MakeRuns) -> None:
    blocks = {'A': ['data.val_split=train'], 'B': []}
    runs = make_runs(blocks=blocks, seeds=[1, 2])
    names = [run.name for run in runs]
    assert names[:4] == ['control_A_1', 'giou_A_1', 'control_B_1', 'giou_B_1']
    assert names[4:] == [name[:-1] + '2' for name in names[:4]]
    assert len({run.folder for run in runs}) == 8
    assert [run.experiment.loss.localization for run in runs[:2]] == ['smooth_l1', 'giou']
    assert [run.experiment.data.val_split for run in runs[1:3]] == ['train', 'val']
    assert {run.experiment.training.seed for run in runs[4:]} == {2}


def test_changed_recipe_has_another_folder(make_runs: MakeRuns) -> None:
    before = make_runs()[1]
    after = make_runs(recipes={'control': {}, 'giou': {'overrides': ['loss.localization=l1']}})[1]
    assert before.name == after.name
    assert before.folder != after.folder


def test_experiment_is_relative_to_the_file_of_the_suite(
    tmp_path: Path, make_runs: MakeRuns
) -> None:
    (tmp_path / 'mine.yaml').write_text('_base_: smoke\nloss: {localization: ciou}\n')
    recipes = {'control': {}, 'mine': {'experiment': 'mine.yaml'}}
    assert make_runs(recipes=recipes)[1].experiment.loss.localization == 'ciou'


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'recipe': {}}, r"unknown key 'recipe'; did you mean 'recipes'\?"),
        ({'recipes': {'a/b': {}}}, r'recipes\.a/b'),
        ({'seeds': [-1]}, r'seeds\.0: expected at least 0, got -1'),
        ({'recipes': {'a': {'overrides': 'x=1'}}}, r'overrides: expected a list'),
        ({'recipes': {'a': {'overrides': ['los.x=1']}}}, r'recipe a, block all: .*did you mean'),
        ({'blocks': {'B': ['training.epochs=0']}}, r'block B: .*training\.epochs'),
        ({'experiment': 'no_such'}, r'no such experiment'),
    ],
)
def test_invalid_suite_is_refused(make_runs: MakeRuns, keys: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_runs(**keys)


@pytest.mark.parametrize('name', ['hit_uav_recipe', 'x' * 5000, 'a\0b'])
def test_missing_suite_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match='no such suite'):
        load_suite(name)


@pytest.mark.parametrize('name', shipped_suites())
def test_shipped_suites_are_valid(name: str, tmp_path: Path) -> None:
    path, suite = load_suite(name)
    runs = plan_runs(path, suite, tmp_path)
    assert len({run.folder for run in runs}) == len(runs) > 0
    assert json.dumps(runs[0].arguments)
