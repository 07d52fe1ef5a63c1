"""The training package as colcon installs it."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'mnssd_training'

setup(
    name=NAME,
    version='0.1.0',
    description='Train, evaluate and export the MobileNetV2-SSD that mnssd_perception flies',
    license='Apache-2.0',
    maintainer='mnssd maintainers',
    maintainer_email='maintainers@mnssd.invalid',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: [
            'py.typed',
            'config/components/*/*.yaml',
            'config/experiments/*.yaml',
            'evaluation/*.jinja',
        ]
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/config', sorted(map(str, Path('config').glob('*')))),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=True,
    entry_points={
        'console_scripts': [
            'anchors = mnssd_training.cli.anchors:main',
            'bags-to-dataset = mnssd_training.cli.bags_to_dataset:main',
            'config = mnssd_training.cli.config:main',
            'dataset = mnssd_training.cli.dataset:main',
            'evaluate = mnssd_training.cli.evaluate:main',
            'export = mnssd_training.cli.export:main',
            'find-batch-size = mnssd_training.cli.find_batch_size:main',
            'find-lr = mnssd_training.cli.find_lr:main',
            'finetune = mnssd_training.cli.finetune:main',
            'predict = mnssd_training.cli.predict:main',
            'shard = mnssd_training.cli.shard:main',
            'train = mnssd_training.cli.train:main',
        ],
    },
)
