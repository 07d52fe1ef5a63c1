"""The shipped experiments and components."""

from collections.abc import Callable
from pathlib import Path
import subprocess
import sys

from mnssd_perception.ssd import (
    FeatureMap,
    finetune_feature_maps,
    ModelSpec,
    original_feature_maps,
    ssdlite_feature_maps,
)
from mnssd_training.config import fingerprint, load_experiment, shipped_experiments
from mnssd_training.config.compose import COMPONENTS, EXPERIMENTS, shipped_components
from mnssd_training.model import build_model
import pytest
import yaml

Layout = Callable[[tuple[int, int]], tuple[FeatureMap, ...]]

# A change here is a change of results: whoever makes one makes it on purpose.
FINGERPRINTS = {
    'aerial': '177449c2c9f6',
    'finetune': 'cd29dd36a66b',
    'hit_uav': '0f79fcc4a1c2',
    'hit_uav_m': '42e71335b246',
    'hit_uav_n': '1181c30e59bc',
    'hit_uav_s': 'a8cba800d16c',
    'original': 'f0d61adcbfaf',
    'smoke': 'fe4159501f98',
    'ssdlite_coco': '10e9204ff744',
}


def test_fingerprints_of_shipped_experiments() -> None:
    assert {name: fingerprint(load_experiment(name)) for name in shipped_experiments()} == (
        FINGERPRINTS
    )


@pytest.mark.parametrize('name', shipped_experiments())
def test_first_line_is_a_comment(name: str) -> None:
    assert (EXPERIMENTS / f'{name}.yaml').read_text().startswith('# ')


def test_every_component_is_used() -> None:
    used = {
        component
        for name in shipped_experiments()
        for component in yaml.safe_load((EXPERIMENTS / f'{name}.yaml').read_text())
        .get('defaults', {})
        .values()
    }
    assert used == set(shipped_components())


@pytest.mark.parametrize('name', shipped_components())
def test_component_belongs_to_its_section(name: str, tmp_path: Path) -> None:
    section = Path(name).parent.name
    path = tmp_path / 'own.yaml'
    path.write_text(f'_base_: smoke\ndefaults: {{{section}: {name}}}\n')
    composed = load_experiment(path, (), {}).model_dump(mode='json')[section]
    set_there = yaml.safe_load((COMPONENTS / name).read_text())
    assert {key for key in set_there if '$' not in str(set_there[key])} <= set(composed)


@pytest.mark.parametrize(
    ('name', 'layout', 'num_classes', 'num_priors'),
    [
        ('original', original_feature_maps, 20, 13502),
        ('finetune', finetune_feature_maps, 4, 9602),
        ('ssdlite_coco', ssdlite_feature_maps, 80, 3234),
    ],
    ids=['original', 'finetune', 'ssdlite_coco'],
)
def test_published_networks(name: str, layout: Layout, num_classes: int, num_priors: int) -> None:
    experiment = load_experiment(name)
    size = experiment.input.size
    classes = experiment.data.classes or tuple(map(str, range(num_classes)))
    spec = ModelSpec(size, classes, layout(size), experiment.input.resize)
    assert (spec.num_classes, spec.num_priors) == (num_classes, num_priors)
    assert name.startswith(experiment.priors.layout)
    build_model(spec, experiment.model)


def test_the_original_recipe() -> None:
    experiment = load_experiment('original')
    assert experiment.data.classes[14] == 'person'
    assert experiment.optimizer.name == 'adamw'
    assert experiment.optimizer.learning_rate == 1e-3
    assert (experiment.scheduler.name, experiment.scheduler.warmup_steps) == ('cosine', 1000)
    assert (experiment.training.batch_size, experiment.training.ema_decay) == (32, 0.999)
    assert (experiment.matching.positive_iou, experiment.matching.negative_iou) == (0.5, 0.4)
    assert experiment.model.extra_channels == (256, 256, 128)
    assert experiment.loss.neg_pos_ratio == 3.0


def test_the_recipe_of_the_finetune_document() -> None:
    experiment = load_experiment('finetune')
    optimizer, training = experiment.optimizer, experiment.training
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ('sgd', 0.002, 0.9)
    assert (optimizer.weight_decay, optimizer.backbone_lr_factor) == (1e-4, 1.0)
    schedule = experiment.scheduler
    assert (schedule.name, schedule.step_epochs, schedule.gamma) == ('step', 20, 0.1)
    assert (training.epochs, training.batch_size, training.seed) == (50, 8, 42)
    assert experiment.data.format == 'yolo'
    assert not experiment.initial.backbone_weights
    augmentation = experiment.augmentation.model_dump()
    kinds = (
        'zoom_out',
        'iou_crop',
        'large_scale_jitter',
        'mosaic',
        'mixup',
        'horizontal_flip',
        'vertical_flip',
    )
    colours = ('brightness', 'contrast', 'saturation', 'hue', 'invert', 'equalize')
    flips = {key for key in (*kinds, *colours) if augmentation[key]}
    assert flips == {'horizontal_flip'}


def test_the_published_recipe_of_ssdlite() -> None:
    experiment = load_experiment('ssdlite_coco')
    assert (experiment.training.epochs, experiment.training.batch_size) == (600, 192)
    assert (experiment.optimizer.name, experiment.optimizer.learning_rate) == ('sgd', 0.015)
    assert experiment.scheduler.name == 'cosine'
    assert experiment.evaluation.monitor == 'ap'


def test_aerial_recipe() -> None:
    experiment = load_experiment('aerial')
    assert experiment.priors.layout == 'clustered'
    assert experiment.priors.strides[0] == 8
    assert experiment.augmentation.mosaic > 0
    assert experiment.training.multi_scale != (1.0, 1.0)


def test_yaml_files_are_installed_with_the_package() -> None:
    """What setup.py declares is what the code looks for."""
    root = Path(__file__).parents[2]
    script = (
        'import setuptools, runpy\n'
        'setuptools.setup = lambda **k: print(*k["package_data"]["mnssd_training"])\n'
        'runpy.run_path("setup.py")'
    )
    output = subprocess.run(
        [sys.executable, '-c', script], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    package = root / 'mnssd_training'
    installed = {path for pattern in output for path in package.glob(pattern)}
    assert set(package.glob('config/**/*.yaml')) <= installed
    assert len(installed) > 10
