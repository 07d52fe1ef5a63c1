"""Raw heads of one network in the priors of another: they stand for the same boxes."""

from dataclasses import replace

from mnssd_perception.ssd import feature_map, generate_priors, ModelSpec
from mnssd_training.errors import ConfigError
from mnssd_training.loss.localization import decode_boxes
from mnssd_training.priors import resize_spec
from mnssd_training.train.prior_alignment import align_priors
import pytest
import torch

CPU = torch.device('cpu')
SIZE = (96, 120)


def test_equal_priors_change_nothing(spec: ModelSpec) -> None:
    alignment = align_priors(spec, spec, CPU)
    logits, offsets = torch.randn(0, spec.num_priors, 5), torch.randn(2, spec.num_priors, 4)
    same = alignment.apply(logits, offsets[:0])
    assert torch.equal(same[0], logits)
    assert torch.equal(alignment.apply(offsets, offsets)[1], offsets)


@pytest.mark.parametrize('size', [SIZE, (64, 96)])
def test_aligned_offsets_stand_for_the_same_boxes(spec: ModelSpec, size: tuple[int, int]) -> None:
    levels = (
        feature_map(SIZE, 8, ((17.0, 11.0), (9.0, 13.0), (90.0, 90.0))),  # in another order
        feature_map(SIZE, 16, ((22.0, 25.0),)),
        feature_map(SIZE, 32, ((45.0, 44.0),)),
        feature_map(SIZE, 64, ((80.0, 80.0),)),
    )
    other = replace(spec, feature_maps=levels, variances=(0.2, 0.1))
    spec, other = resize_spec(spec, size), resize_spec(other, size)
    alignment = align_priors(spec, other, CPU)
    torch.manual_seed(0)
    logits, offsets = torch.randn(2, other.num_priors, 5), torch.randn(2, other.num_priors, 4)
    aligned_logits, aligned_offsets = alignment.apply(logits, offsets)
    own, theirs = (torch.from_numpy(generate_priors(s).copy()) for s in (spec, other))
    expected = decode_boxes(offsets, theirs, other.variances)[:, alignment.index]
    torch.testing.assert_close(decode_boxes(aligned_offsets, own, spec.variances), expected)
    assert torch.equal(aligned_logits, logits[:, alignment.index])
    assert alignment.index[:4].tolist() == [1, 0, 4, 3]  # two cells of three priors
    assert torch.equal(theirs[alignment.index][:, :2], own[:, :2])


def test_dissimilar_priors_and_missing_grids_are_refused(spec: ModelSpec) -> None:
    larger = (feature_map(SIZE, 8, ((8.0, 12.0), (30.0, 30.0))), *spec.feature_maps[1:])
    with pytest.raises(ConfigError, match=r'an IoU of 0.7 with \(16.0, 12.0\) on the grid'):
        align_priors(spec, replace(spec, feature_maps=larger), CPU)
    with pytest.raises(ConfigError, match=r'expected a grid of \(12, 15\) cells, got'):
        align_priors(spec, replace(spec, feature_maps=spec.feature_maps[1:]), CPU)
