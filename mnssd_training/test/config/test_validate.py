"""Validation of experiments: each problem with its origin, key and a hint."""

from collections.abc import Callable
from pathlib import Path

from mnssd_training.config import Experiment, InvalidExperimentError, load_experiment
from mnssd_training.errors import ConfigError
import pytest


@pytest.mark.parametrize(
    ('override', 'read'),
    [
        ('training.epochs=3', lambda e: e.training.epochs == 3),
        ('optimizer.learning_rate=1e-3', lambda e: e.optimizer.learning_rate == 0.001),
        ('optimizer.learning_rate=2', lambda e: e.optimizer.learning_rate == 2.0),
        ('input.size=[100, 200]', lambda e: e.input.size == (100, 200)),
        ('input.size.1=96', lambda e: e.input.size == (160, 96)),
        ('input.train_size=[64, 64]', lambda e: e.input.train_size == (64, 64)),
        ('input.train_size=', lambda e: e.input.train_size is None),
        ('data.root=a=b', lambda e: e.data.root == 'a=b'),
        ('data.root=a b/c', lambda e: e.data.root == 'a b/c'),
        ('data.root=2007', lambda e: e.data.root == '2007'),
        ('data.root=1e3', lambda e: e.data.root == '1e3'),
        ('data.root=true', lambda e: e.data.root == 'true'),
        ('data.classes=[no, 7, b]', lambda e: e.data.classes == ('no', '7', 'b')),
        ('data.class_map={7: a, b: 8}', lambda e: e.data.class_map == {'7': 'a', 'b': '8'}),
        ('data.class_map.car=vehicle', lambda e: e.data.class_map == {'car': 'vehicle'}),
        ('data.extra_sources.0.root=x', lambda e: e.data.extra_sources[0].root == 'x'),
        ('data.val_split=', lambda e: not e.data.val_split),
        ('initial.backbone_weights=""', lambda e: not e.initial.backbone_weights),
        ('matching.positive_iou=1', lambda e: e.matching.positive_iou == 1.0),
        (
            'augmentation.iou_crop_min_ious=[0, 1]',
            lambda e: e.augmentation.iou_crop_min_ious == (0.0, 1.0),
        ),
        (
            'model={width_mult: 0.5}',
            lambda e: (e.model.width_mult, e.model.pyramid_channels) == (0.5, 48),
        ),
        (
            'training.progressive_resizing=[[0, 0.5]]',
            lambda e: e.training.progressive_resizing == ((0.0, 0.5),),
        ),
    ],
)
def test_overrides(override: str, read: Callable[[Experiment], bool]) -> None:
    assert read(load_experiment('smoke', [override]))


def test_last_override_wins() -> None:
    changed = load_experiment('smoke', ['training.epochs=3', 'training.epochs=4'])
    assert changed.training.epochs == 4
    assert load_experiment('smoke').training.epochs == 1


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('', "expected key.path=value, got ''"),
        ('epochs', "expected key.path=value, got 'epochs'"),
        ('=3', 'expected key.path=value'),
        ('data.root=\udcff', "expected text in UTF-8, got 'data.root=\\udcff'"),
        ('training..epochs=3', 'expected key.path=value'),
        ('.'.join('a' * 30) + '=1', 'expected key.path=value'),
        ('training.epoch=3', "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ('trainning.epochs=3', "unknown key 'trainning'; did you mean 'training'?"),
        ('epochs=3', "unknown key 'epochs'; did you mean 'training.epochs'?"),
        ('lr=3', "unknown key 'lr'; available: experiment, data, input, "),
        ('defaults={a: b}', "unknown key 'defaults'"),
        ('training.learning_rate=1', "did you mean 'optimizer.learning_rate'?"),
        ('matching.positive_uio=1', "did you mean 'matching.positive_iou'?"),
        (
            'data.extra_sources.0={root: a, fromat: b}',
            "did you mean 'data.extra_sources.0.format'?",
        ),
        ('training.accumulate=2', "it is now 'training.grad_accum_steps'"),
        ('loss.classes=focal', "unknown key 'loss.classes'; it is now 'loss.classification'"),
        ('data.more=[{root: a}]', "it is now 'data.extra_sources'"),
        (
            'data.extra_sources.0={root: a, rename: {}}',
            "it is now 'data.extra_sources.0.class_map'",
        ),
        ('training.epochs.more=3', 'training.epochs: expected an integer, got {"more": 3}'),
        ('training.epochs=many', 'training.epochs: expected an integer, got "many"'),
        ('training.epochs=3.5', 'training.epochs: expected an integer, got 3.5'),
        ('training.epochs=true', 'training.epochs: expected an integer, got true'),
        ('training.epochs="3"', 'training.epochs: expected an integer, got "3"'),
        ('training.epochs=', 'training.epochs: expected an integer, got null'),
        ('training.epochs=[', "not YAML: expected the node content, but found '<stream end>'"),
        ('training.epochs=[', "in 'training.epochs=['"),
        ('training.epochs=0', 'training.epochs: expected more than 0, got 0'),
        (f'training.epochs={"9" * 5000}', 'training.epochs: expected an integer, got "999'),
        (f'training.epochs={"9" * 200}', 'training.epochs: expected an integer, got "999'),
        ('training.workers=-1', 'training.workers: expected at least 0, got -1'),
        ('training.compile=yes', 'training.compile: expected true or false, got "yes"'),
        ('training=3', 'training: expected keys, got 3'),
        ('training=', 'training: expected keys, got null'),
        ('matching=[1]', 'matching: expected keys, got [1]'),
        ('optimizer.learning_rate=.nan', 'expected a finite number, got NaN'),
        ('optimizer.learning_rate=.inf', 'expected a finite number, got Infinity'),
        ('training.ema_decay=1', 'training.ema_decay: expected less than 1.0, got 1'),
        ('training.precision=fp61', "or 'fp16', got \"fp61\"; did you mean 'fp16'?"),
        ('training.precision=int8x', "expected 'fp32', 'bf16' or 'fp16', got \"int8x\""),
        ('optimizer.name=AdamW', "did you mean 'adamw'?"),
        ('optimizer.name=7', "expected 'adamw' or 'sgd', got 7"),
        ('input.size=[100]', 'input.size: expected more than 1 values'),
        ('input.size=[1, 2, 3]', 'input.size: expected at most 2 values, got [1, 2, 3]'),
        ('input.size=300', 'input.size: expected a list, got 300'),
        ('input.size.7=300', "input.size: expected an index from 0 to 2 of this list, got '7'"),
        ('priors.priors_per_cell=[1, 2]', 'expected a number for each of the strides'),
        ('priors.strides=[8, 16, 0]', 'priors.strides.2: expected more than 0, got 0'),
        ('matching.positive_iou=2', 'matching.positive_iou: expected 0 to 1, got 2'),
        ('matching.negative_iou=.9', 'matching.negative_iou: expected at most positive_iou 0.5'),
        ('matching.negative_iou=x', 'matching.negative_iou: expected a number, got "x"'),
        ('experiment.id=a b', 'experiment.id: expected text like ^'),
        ('experiment.name={a: b}', 'experiment.name: expected text, got {"a": "b"}'),
        ('experiment.name=null', 'experiment.name: expected text, got null'),
        ('data.root=', 'data.root: expected text, got ""'),
        ('data.classes=[a, a]', 'data.classes: expected names that differ'),
        ('data.extra_sources.0.format=voc', "missing key 'data.extra_sources.0.root'"),
        ('loss.class_weights.Car=0', 'loss.class_weights.Car: expected more than 0.0, got 0'),
    ],
)  # fmt: skip
def test_invalid_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment('smoke', [override])
    assert message in str(caught.value)
    assert str(caught.value).startswith('command line: ')
    assert '\n' not in str(caught.value)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text(
        'experiment:\n  id: own\n'
        'trainning:\n  epochs: 3\n'
        'training:\n  epochs: 0\n  sead: 7\n'
        'priors:\n  priors_per_cell: [1]\n'
    )
    with pytest.raises(InvalidExperimentError) as caught:
        load_experiment(path)
    assert caught.value.problems == (
        f"{path}: missing key 'data.root'",
        f'{path}:9: priors.priors_per_cell: expected a number for each of the strides '
        '(8, 16, 32, 64), got (1,)',
        f'{path}:6: training.epochs: expected more than 0, got 0',
        f"{path}:7: unknown key 'training.sead'; did you mean 'training.seed'?",
        f"{path}:3: unknown key 'trainning'; did you mean 'training'?",
    )
    assert str(caught.value) == '; '.join(caught.value.problems)
