"""One setup at a time, and none locked out by one that was killed."""

from pathlib import Path
import signal
import subprocess
import sys

from mnssd_workspace.errors import BusyError
from mnssd_workspace.lock import only_one
import pytest

HOLD = """
import sys, time
from pathlib import Path
from mnssd_workspace.lock import only_one
with only_one(Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(60)
"""
TOOLS = Path(__file__).resolve().parents[1]


def test_the_second_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], cwd=TOOLS, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(BusyError, match='another setup'), only_one(tmp_path, 0.1):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with only_one(tmp_path, 0.1):
        pass
    assert list(tmp_path.iterdir()) == []
