"""
Sensors of other machines.

The trees follow the kernel's documentation of the ina3221 driver and NVIDIA's developer guide
(Jetson Orin NX), and a Raspberry Pi 5, which has no power sensor in sysfs.
"""

from pathlib import Path

from mnssd_perception.benchmark.sensors import read_memory, read_power, read_temperatures
import pytest

JETSON = {
    'sys/class/hwmon/hwmon0/name': 'cpu_thermal\n',
    'sys/class/hwmon/hwmon3/name': 'ina3221\n',
    'sys/class/hwmon/hwmon3/in1_label': 'VDD_IN\n',
    'sys/class/hwmon/hwmon3/in1_input': '5008\n',
    'sys/class/hwmon/hwmon3/curr1_input': '1240\n',
    'sys/class/hwmon/hwmon3/in2_label': 'VDD_CPU_GPU_CV\n',
    'sys/class/hwmon/hwmon3/in2_input': '5000\n',
    'sys/class/hwmon/hwmon3/curr2_input': '200\n',
    'sys/class/hwmon/hwmon3/in3_label': 'VDD_SOC\n',
    'sys/class/hwmon/hwmon3/in3_input': '5000\n',
    'sys/class/hwmon/hwmon3/curr3_input': '320\n',
    'sys/class/hwmon/hwmon3/in4_input': '6200\n',  # shunt voltages, uV
    'sys/class/hwmon/hwmon3/curr4_input': '1760\n',  # the sum
    'sys/class/hwmon/hwmon3/in7_label': 'sum of shunt voltages\n',
    'sys/class/hwmon/hwmon3/in7_input': '8800\n',
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '48312\n',
    'sys/class/thermal/thermal_zone1/type': 'gpu-thermal\n',
    'sys/class/thermal/thermal_zone1/temp': '-256000\n',  # switched off
    'sys/class/thermal/thermal_zone2/type': 'cv0-thermal\n',
    'sys/class/thermal/thermal_zone2/temp': '',  # cannot be read now
    'sys/class/thermal/thermal_zone3/type': 'tj-thermal\n',
    'sys/class/thermal/thermal_zone3/temp': '49000\n',
}
RASPBERRY_PI = {
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '61450\n',
    'sys/class/hwmon/hwmon0/name': 'cpu_thermal\n',
    'sys/class/hwmon/hwmon0/temp1_input': '61450\n',
    'sys/class/hwmon/hwmon2/name': 'rpi_volt\n',
    'sys/class/hwmon/hwmon2/in0_lcrit_alarm': '0\n',
}


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    assert read_power(tmp_path) == {}
    assert read_temperatures(tmp_path) == {}
    assert read_memory('VmRSS', tmp_path) is None


def test_rails_of_a_jetson(tmp_path: Path) -> None:
    power = read_power(write_tree(tmp_path, JETSON))
    assert power == pytest.approx({'VDD_IN': 6.20992, 'VDD_CPU_GPU_CV': 1.0, 'VDD_SOC': 1.6})


def test_zones_of_a_jetson_that_are_switched_off_are_left_out(tmp_path: Path) -> None:
    temperatures = read_temperatures(write_tree(tmp_path, JETSON))
    assert temperatures == {'cpu-thermal': 48.312, 'tj-thermal': 49.0}


def test_a_raspberry_pi_has_a_temperature_and_no_power(tmp_path: Path) -> None:
    write_tree(tmp_path, RASPBERRY_PI)
    assert read_power(tmp_path) == {}
    assert read_temperatures(tmp_path) == {'cpu-thermal': 61.45}


def test_channels_that_are_off_or_not_connected_are_left_out(tmp_path: Path) -> None:
    folder = 'sys/class/hwmon/hwmon3'
    changes = {
        f'{folder}/in1_label': 'NC\n',
        f'{folder}/curr2_input': '',  # in2_enable is 0
        f'{folder}/in3_input': 'No data\n',
    }
    assert read_power(write_tree(tmp_path, JETSON | changes)) == {}


def test_two_monitors_with_the_same_rails(tmp_path: Path) -> None:
    second = {name.replace('hwmon3', 'hwmon4'): text for name, text in JETSON.items()}
    power = read_power(write_tree(tmp_path, JETSON | second))
    assert power['VDD_IN'] == power['VDD_IN (hwmon4)']


@pytest.mark.parametrize('file', ['power1_input', 'power1_average'])
@pytest.mark.parametrize('label', ['', 'PPT'])
def test_a_sensor_that_reports_power(file: str, label: str, tmp_path: Path) -> None:
    folder = 'sys/class/hwmon/hwmon0'
    files = {f'{folder}/name': 'ina226\n', f'{folder}/{file}': '7250000\n'}
    if label:
        files[f'{folder}/power1_label'] = f'{label}\n'
    assert read_power(write_tree(tmp_path, files)) == {label or 'ina226 power1': 7.25}


def test_sensors_of_a_pc_without_zones(tmp_path: Path) -> None:
    folder = 'sys/class/hwmon/hwmon1'
    files = {
        f'{folder}/name': 'k10temp\n',
        f'{folder}/temp1_label': 'Tctl\n',
        f'{folder}/temp1_input': '40500\n',
        f'{folder}/temp3_input': '39000\n',
    }
    assert read_temperatures(write_tree(tmp_path, files)) == {'Tctl': 40.5, 'hwmon1': 39.0}


def test_memory_of_this_process() -> None:
    resident, peak = read_memory('VmRSS'), read_memory('VmHWM')
    assert resident is not None
    assert peak is not None
    assert 1 < resident <= peak
