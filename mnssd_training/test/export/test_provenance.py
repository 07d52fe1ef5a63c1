"""What a bundle tells of its origin, and what it keeps to itself."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
import subprocess
from typing import Any

from mnssd_training.config import Experiment, load_experiment, to_stored
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.data import Sample
from mnssd_training.export.provenance import dataset_digest, git_commit, public_experiment
import numpy as np
import pytest

# --- the experiment --------------------------------------------------------------------------


def test_no_experiment() -> None:
    assert public_experiment({}) == {}


def test_the_public_part_of_an_experiment(experiment: Callable[..., Experiment]) -> None:
    whole = experiment(
        data__root='/home/somebody/flights/hit_uav',
        data__val_split='/home/somebody/lists/val.txt',
        data__cache_dir='/scratch/somebody/shards',
        initial__backbone_weights='s3://somebody/weights/mobilenet.pth',
        logging__root='/home/somebody/runs',
        model__backbone='timm/mobilenetv3_large_100',
    )
    told = public_experiment(whole.model_dump(mode='json'))
    assert 'somebody' not in json.dumps(told)
    assert told['data']['root'] == 'hit_uav'
    assert told['data']['val_split'] == 'val.txt'
    assert told['initial']['backbone_weights'] == 'mobilenet.pth'
    assert told['model']['backbone'] == 'timm/mobilenetv3_large_100'  # a name, not a path
    assert told['fingerprint'] == fingerprint(whole)
    assert 'logging' not in told


def test_fingerprint_of_an_experiment_with_variables() -> None:
    overrides = ('training.accelerator=${ACC}', 'initial.backbone_weights=${WEIGHTS}')
    whole = load_experiment('smoke', overrides, {'ACC': 'cpu', 'WEIGHTS': 'imagenet'})
    assert public_experiment(to_stored(whole))['fingerprint'] == fingerprint(whole)


def test_further_data_sets_and_other_computers() -> None:
    data: dict[str, Any] = {
        'root': 'C:\\Users\\somebody\\cars',
        'more': [{'root': '/home/somebody/sea/'}, {'root': 'birds'}],
    }
    sources = [{'root': 'sea'}, {'root': 'birds'}]
    public = public_experiment({'data': data})
    assert public == {'data': {'root': 'cars', 'extra_sources': sources}}
    data['extra_sources'] = data.pop('more')
    public = public_experiment({'data': data})
    assert public == {'data': {'root': 'cars', 'extra_sources': sources}}


# --- the commit ------------------------------------------------------------------------------


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / 'README').write_text('')
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b.invalid', '-c', 'commit.gpgsign=false']
    for arguments in (['init', '-q'], ['add', '.'], [*who, 'commit', '-q', '-m', 'first']):
        subprocess.run(['git', *arguments], cwd=folder, check=True)
    return folder


def test_the_commit_of_our_own_repository_only(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == ''
    own = repository(tmp_path / 'own') / 'mnssd_training' / 'mnssd_training'
    own.mkdir(parents=True)
    assert len(git_commit(own)) == 40
    installed = repository(tmp_path / 'other') / '.venv' / 'lib' / 'mnssd_training'
    installed.mkdir(parents=True)
    assert git_commit(installed) == ''
    assert git_commit(tmp_path / 'gone') == ''


# --- the digest of a dataset ----------------------------------------------------------------


def test_a_digest_is_of_content_and_not_of_order(train_samples: list[Sample]) -> None:
    digest = dataset_digest(train_samples)
    assert digest.startswith('sha256:')
    assert len(digest) == 71
    assert dataset_digest(train_samples[::-1]) == digest


@pytest.mark.parametrize(
    'change',
    [
        lambda s: replace(s, name='other'),
        lambda s: replace(s, boxes=s.boxes + np.float32(0.25)),
        lambda s: replace(s, labels=s.labels + 1),
        lambda s: replace(
            s, ignore=np.array([[1, 2, 3, 4]], np.float32), ignore_labels=np.array([0])
        ),
        lambda s: replace(
            s, ignore=np.array([[1, 2, 3, 4]], np.float32), ignore_labels=np.array([1])
        ),
        lambda s: replace(s, size=(10, 10)),
    ],
)
def test_any_change_changes_the_digest(
    train_samples: list[Sample], change: Callable[[Sample], Sample]
) -> None:
    hidden = replace(
        train_samples[0],
        ignore=np.array([[1, 2, 3, 4]], np.float32),
        ignore_labels=np.array([-1]),
    )
    changed = [change(hidden), *train_samples[1:]]
    assert dataset_digest(changed) != dataset_digest([hidden, *train_samples[1:]])
