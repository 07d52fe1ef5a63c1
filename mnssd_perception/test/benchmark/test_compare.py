"""Comparisons of two reports."""

from dataclasses import replace

from mnssd_perception.benchmark import compare_reports, Report


def test_a_report_with_itself(report: Report) -> None:
    lines = compare_reports(report, report).splitlines()
    assert lines[0].split()[0] == 'run'
    assert len(lines) == 1 + 2 * 4
    assert all(line.split()[-3] == '1.00' for line in lines[1:])


def test_ratios_have_a_spread(report: Report) -> None:
    slow, fast = (replace(report, runs=(run,)) for run in report.runs)
    line = compare_reports(slow, fast).splitlines()[-1]
    # 5.75 / 11.5, 5.375 / 12.25 and 6.125 / 10.75
    assert line.split()[-5:] == ['11.50', '5.75', '0.50', '0.44', '0.57']
    assert line.startswith('onnxruntime fp32, 2 threads -> openvino int8, 2 threads  total')


def test_other_machines_bundles_and_engines_are_named(report: Report) -> None:
    host = replace(report.host, cpu='another', load=0.9)
    run = replace(report.runs[0], description='onnxruntime 2.0, fp32, a CPU')
    other = replace(report, host=host, digest='sha256:11', runs=(run,))
    text = compare_reports(report, other)
    assert "machines differ: cpu: 'a CPU' and 'another'\n" in text
    assert 'load' not in text
    assert 'digest differs: sha256:00 and sha256:11\n' in text
    assert 'only in the first: openvino int8, 2 threads\n' in text
    assert 'engines differ: onnxruntime 1.0, fp32, a CPU and onnxruntime 2.0' in text


def test_control_characters_of_another_machine_are_escaped(report: Report) -> None:
    text = compare_reports(report, replace(report, bundle='a\x1b[2J\nforged'))
    assert 'bundle differs: hit_uav 1.0 and a\\x1b[2J\\nforged\n' in text


def test_nothing_in_common(report: Report) -> None:
    other = replace(report, runs=(replace(report.runs[0], threads=1),))
    assert compare_reports(report, other).endswith('no run is in both')


def test_a_stage_that_took_no_time_has_no_ratio(report: Report) -> None:
    run = report.runs[0]
    nothing = replace(run.stages['resize'], p25=0, p50=0, p75=0)
    none = replace(report, runs=(replace(run, stages=run.stages | {'resize': nothing}),))
    one = replace(report, runs=(run,))
    assert compare_reports(none, one).splitlines()[1].split()[-3:] == ['-', '-', '-']
