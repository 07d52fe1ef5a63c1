"""The command line of the benchmarks."""

import pytest

from benchmarks.__main__ import main


def test_an_unknown_benchmark_is_refused_with_the_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(['speed'])
    error = capsys.readouterr().err
    assert (
        "expected a benchmark of postprocess, engine, preprocessing, loading, got 'speed'" in error
    )


def test_postprocess_agrees_with_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['postprocess', '--rounds', '1']) == 0
    assert 'torchvision batched_nms, full' in capsys.readouterr().out
