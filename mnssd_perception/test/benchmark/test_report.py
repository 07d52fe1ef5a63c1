"""Reports as text and as JSON."""

from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from mnssd_perception.benchmark import (
    format_report,
    Percentiles,
    read_report,
    Report,
    write_report,
)
from mnssd_perception.errors import MnssdError, SettingsError
from mnssd_perception.serialization import to_plain
import pytest


def test_percentiles() -> None:
    assert Percentiles.of([]) == Percentiles(0, 0, 0, 0, 0)
    assert Percentiles.of(range(101)) == Percentiles(25, 50, 75, 95, 99)


def test_json_round_trip(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / 'a.json', report)
    assert read_report(tmp_path / 'a.json') == report


@pytest.mark.parametrize('content', [b'', b'{', b'\xff', b'[' * 100_000])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(SettingsError, match=r"a\.json' is not JSON"):
        read_report(tmp_path / 'a.json')


@pytest.mark.parametrize('plain', [None, [], {}, {'format': 2}, {'format': '1'}])
def test_other_formats_are_refused(plain: Any, tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(plain))
    with pytest.raises(SettingsError, match='the JSON file of a benchmark in format 1, got'):
        read_report(tmp_path / 'a.json')


def test_wrong_values_are_named(report: Report, tmp_path: Path) -> None:
    plain = to_plain(report)
    del plain['runs'][1]['stages']['infer']
    (tmp_path / 'a.json').write_text(json.dumps(plain))
    with pytest.raises(SettingsError, match='stages: expected'):
        read_report(tmp_path / 'a.json')
    plain['runs'][0]['threads'] = 'two'
    (tmp_path / 'a.json').write_text(json.dumps(plain))
    with pytest.raises(SettingsError, match=r"a\.json': expected int at runs\[0\]\.threads"):
        read_report(tmp_path / 'a.json')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none' cannot be read"):
        read_report(tmp_path / 'none')


def test_a_folder_that_cannot_be_written_is_named(report: Report, tmp_path: Path) -> None:
    with pytest.raises(MnssdError, match='cannot be written'):
        write_report(tmp_path / 'none' / 'a.json', report)


def test_text(report: Report) -> None:
    lines = format_report(report).splitlines()
    assert 'busy' not in format_report(report)
    header, first, second = lines[3:6]
    ratio = slice(header.index('ratio'), header.index('ratio') + len('ratio'))
    assert first.startswith('onnxruntime fp32, 2 threads   11.50')
    assert (first[ratio].strip(), second[ratio].strip()) == ('1.00', '0.50')
    assert first.split()[-1] == '-'  # growth is unknown
    assert 'power: no readable sensor; highest temperature, degrees C: cpu 50' in lines[8]
    assert 'not measured: x: no x' in lines
    assert lines[-1] == 'peak memory of the process with all engines: 300 MiB'


def test_a_busy_machine_and_power_are_reported(report: Report) -> None:
    runs = (replace(report.runs[0], power_w={'VDD_IN': 6.2}),)
    text = format_report(replace(report, host=replace(report.host, load=1.5), runs=runs))
    assert 'warning: the machine was busy at the start, load 1.5' in text
    assert 'power: VDD_IN 6.20 W' in text
