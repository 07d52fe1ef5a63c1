"""
Damage checkpoints and load them: none may load with altered content.

``python damage_checkpoints.py --count 500`` does it as often as one likes, the tests less often.
Half of the damages are a flipped bit, the others a block of zeros, anywhere in the file.
"""

from argparse import ArgumentParser
from collections import Counter
import io
from pathlib import Path
import random
import sys
import tempfile

from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.errors import CheckpointError
from mnssd_training.model import build_model
from mnssd_training.torch_file import dump_torch, load_torch
from mnssd_training.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
import torch


def small_checkpoint() -> Checkpoint:
    """Make a checkpoint of a small network."""
    size, config = (32, 32), ModelConfig(pyramid_channels=8, width_mult=0.25)
    spec = ModelSpec(size, ('a', 'b'), (feature_map(size, 8, ((9.0, 9.0),)),))
    weights = build_model(spec, config).state_dict()
    training = {'model': weights, 'step': 7, 'best': 0.5}
    return Checkpoint(spec, config, {'name': 'tiny'}, weights, training, 7, {'map50': 0.5})


def damage(
    path: Path, checkpoint: Checkpoint, count: int, generator: random.Random
) -> Counter[str]:
    """
    Damage a file again and again, and load it.

    :param path: of the file; it is sound again afterwards.
    :param checkpoint: what it holds.
    :param count: number of damages; each changes at least one byte.
    :param generator: of the places.
    :return: how often it was refused, loaded unaltered or loaded altered.
    """
    sound, counts, num_damages = path.read_bytes(), Counter[str](), 0
    wanted = _content(checkpoint)
    while num_damages < count:
        damaged = bytearray(sound)
        if num_damages % 2:
            size = generator.choice((1, 16, 512, 4096))
            start = generator.randrange(len(sound))
            damaged[start : start + size] = bytes(len(damaged[start : start + size]))
        else:
            damaged[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
        if damaged == sound:  # there were zeros before
            continue
        num_damages += 1
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError:
            counts['refused'] += 1
        else:
            is_same = _content(loaded) == wanted
            counts['loaded unaltered' if is_same else 'loaded altered'] += 1
    path.write_bytes(sound)
    return counts


def _content(checkpoint: Checkpoint) -> bytes:
    """Turn all of a checkpoint into bytes that can be compared."""
    training = checkpoint.training
    return dump_torch(
        {
            'spec': to_plain(checkpoint.spec),
            'model_config': checkpoint.model_config.model_dump(mode='json'),
            'experiment': checkpoint.experiment,
            'weights': {key: value.clone() for key, value in checkpoint.weights.items()},
            'model': {key: value.clone() for key, value in training['model'].items()},
            'step': [checkpoint.step, training['step'], training['best']],
            'metrics': checkpoint.metrics,
        }
    )


def main() -> int:
    """Damage a checkpoint with a digest, and one as older versions wrote it."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    checkpoint, num_wrong = small_checkpoint(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'step-00000007.pt'
        save_checkpoint(path, checkpoint)
        for kind in ('with a digest', 'of an older version, without one'):
            counts = damage(path, checkpoint, args.count, random.Random(args.seed))
            print(f'{args.count} checkpoints {kind} ({path.stat().st_size} bytes): {dict(counts)}')
            num_wrong += counts['loaded altered']
            buffer = io.BytesIO()
            torch.save(load_torch(path.read_bytes(), path), buffer)
            path.write_bytes(buffer.getvalue())
    return 1 if num_wrong else 0


if __name__ == '__main__':
    sys.exit(main())
