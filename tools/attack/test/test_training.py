"""A first few of the malformed inputs, and that the tool notices what it is there to notice."""

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='needs what training needs')

from mnssd_attack.cli import training_attacks, TRAINING_SHARES
from mnssd_attack.training_target import TrainingTarget
from mnssd_attack.words import naming
from mnssd_attack.worker import judge
from mnssd_training.config import DataConfig, load_experiment
from mnssd_training.data import load_image, read_splits
from mnssd_training.errors import DatasetError

TRIALS = dict.fromkeys(TRAINING_SHARES, 24) | {'rehearsal': 6}  # which takes a network each


@pytest.fixture
def target(tmp_path: Path) -> TrainingTarget:
    make_target, _ = training_attacks()
    return make_target(tmp_path)


def test_each_kind_has_an_attack() -> None:
    assert list(training_attacks()[1]) == list(TRAINING_SHARES)


def test_what_is_damaged_is_sound_before(target: TrainingTarget) -> None:
    for dataset in target.datasets.values():
        folder = target.place / dataset.format
        for path, content in dataset.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        splits = read_splits(DataConfig(format=dataset.format, root=str(folder)))
        assert (len(splits.train), len(splits.val)) == (3, 2)
        assert all(load_image(sample).shape == (48, 64, 3) for sample in splits.train)
    for name, content in target.experiment.items():
        (target.place / name).write_bytes(content)
    experiment = load_experiment(target.place / 'experiment.yaml', environment=target.environment)
    assert (experiment.training.seed, experiment.optimizer.name) == (7, 'sgd')


@pytest.mark.parametrize('kind', TRAINING_SHARES)
def test_malformed_inputs_are_refused_in_words_or_survived(
    target: TrainingTarget, kind: str
) -> None:
    _, attacks = training_attacks()
    outcomes = [judge(attacks, target, kind, index, seed=0) for index in range(TRIALS[kind])]
    bad = [outcome.words for outcome in outcomes if outcome.verdict == 'crashed']
    assert bad == []
    # An attack that never does harm is none, and one that always does has a broken target.
    assert Counter(outcome.verdict for outcome in outcomes)['refused'] >= TRIALS[kind] // 8


@pytest.mark.parametrize('words', ['something is wrong', 'train.txt:\nline 3'])
def test_an_error_must_name_its_file_in_one_line(words: str) -> None:
    with pytest.raises(AssertionError), naming(['train.txt']):
        raise DatasetError('somewhere', words)
    with pytest.raises(DatasetError), naming(['train.txt']):
        raise DatasetError('train.txt', 'line 3')


def test_an_error_of_another_kind_is_a_crash(target: TrainingTarget) -> None:
    def attack(target: TrainingTarget, generator: object) -> None:
        raise KeyError('images')

    outcome = judge({'coco': attack}, target, 'coco', 0, seed=0)
    assert outcome.verdict == 'crashed'
    assert "KeyError: 'images'" in outcome.words
