"""The training package, installed by colcon or by pip; see that of mnssd_perception."""

from pathlib import Path
import sys

from setuptools import find_packages, setup

NAME = 'mnssd_training'
FOR_PIP = not {'bdist_wheel', 'dist_info', 'editable_wheel'}.isdisjoint(sys.argv)
REQUIREMENTS = [
    'faster-coco-eval>=1.6',
    'fsspec>=2024.2',
    'jinja2>=3.0',
    'lightning-fabric>=2.5',
    'matplotlib>=3.7',
    'mnssd_perception',
    'numpy>=1.21',
    'onnx>=1.17',
    'onnxscript>=0.5',
    'opencv-python-headless>=4.5.4',
    'pillow>=9.0',
    'pydantic>=2.7',
    'pyyaml>=5.4',
    'tensorboard>=2.14',
    'timm>=1.0.11',
    'torch>=2.7',
    'torchvision>=0.22',
    'tqdm>=4.60',
]
VERBS = [  # for `ros2 run`; elsewhere `mnssd` runs them
    'anchors = mnssd_training.cli.anchors:main',
    'average = mnssd_training.cli.average:main',
    'bags-to-dataset = mnssd_training.cli.bags_to_dataset:main',
    'compile-hailo = mnssd_training.cli.compile_hailo:main',
    'config = mnssd_training.cli.config:main',
    'dataset = mnssd_training.cli.dataset:main',
    'evaluate = mnssd_training.cli.evaluate:main',
    'export = mnssd_training.cli.export:main',
    'export-onnx = mnssd_training.cli.export_onnx:main',
    'find-batch-size = mnssd_training.cli.find_batch_size:main',
    'find-lr = mnssd_training.cli.find_lr:main',
    'finetune = mnssd_training.cli.finetune:main',
    'predict = mnssd_training.cli.predict:main',
    'shard = mnssd_training.cli.shard:main',
    'suite = mnssd_training.cli.suite:main',
    'train = mnssd_training.cli.train:main',
    'validate = mnssd_training.cli.validate:main',
]

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
            'config/suites/*.yaml',
            'reporting/templates/*.jinja',
        ]
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/config', sorted(map(str, Path('config').glob('*')))),
    ],
    install_requires=REQUIREMENTS if FOR_PIP else ['setuptools'],
    extras_require={
        'bags': ['rosbags>=0.10'],
        'remote': ['aiohttp>=3.8', 's3fs>=2024.2'],
        'test': ['hypothesis', 'pycocotools>=2.0.8', 'pytest', 'pytest-timeout', 'webdataset'],
    },
    zip_safe=True,
    entry_points={
        'mnssd.commands': ['training = mnssd_training.__main__:COMMANDS'],
        'console_scripts': [] if FOR_PIP else VERBS,
    },
)
