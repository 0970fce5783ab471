"""Worker processes: every result arrives, errors keep their type, and nothing outlives the loop."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clar_core.workers import WorkerDiedError, map_unordered

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _is_up(pid: int) -> bool:
    """Whether a worker has got as far as to ignore SIGINT, which it does first of all (bit 1 of SigIgn)."""
    ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
    return bool(int(ignored, 16) & (1 << (signal.SIGINT - 1)))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_gets_its_result(workers: int) -> None:
    assert dict(map_unordered(math.factorial, range(20), workers=workers)) == {n: math.factorial(n) for n in range(20)}


def test_no_job_begins_too_far_ahead_of_one_that_takes_long(tmp_path: Path) -> None:
    """The first job waits until the results of all that may overtake it have come."""
    (tmp_path / "work.py").write_text(
        "import time, pathlib\n"
        "def work(number):\n"
        "    while number == 0 and not pathlib.Path(__file__).with_name('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    return number\n"
    )
    program = (
        "import pathlib, sys\n"
        "from work import work\n"
        "from clar_core.workers import map_unordered\n"
        "if __name__ == '__main__':\n"
        "    order = []\n"
        "    for job, _ in map_unordered(work, range(30), workers=2, ahead=5):\n"
        "        order.append(job)\n"
        "        if len(order) == 4:\n"
        "            pathlib.Path('go').touch()\n"
        "    assert set(order[:4]) == {1, 2, 3, 4}, order\n"
        "    assert sorted(order) == list(range(30)), order\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, timeout=120, check=True)


def test_no_job_is_no_error() -> None:
    assert list(map_unordered(math.factorial, [], workers=2)) == []


def test_an_error_of_a_job_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(map_unordered(math.sqrt, [4.0, -1.0], workers=1))


def test_an_error_of_the_setup_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_unordered(math.sqrt, [4.0], workers=1, setup=divmod, setup_arguments=(1, 0)))


def test_a_killed_worker_is_named_with_its_jobs() -> None:
    with pytest.raises(WorkerDiedError, match=r"in work: 3"):
        list(map_unordered(os._exit, [3], workers=1))


def test_leaving_the_loop_early_ends_the_workers() -> None:
    pids = []
    for _, status in map_unordered(Path.read_text, [Path("/proc/self/status")] * 4, workers=2):
        pids.append(int(status.partition("Pid:")[2].split()[0]))
        break
    assert pids
    wait_until(lambda: all(ended(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_workers_end_with_a_killed_parent() -> None:
    code = (
        "import os, time, threading\n"
        "from clar_core.workers import map_unordered\n"
        "import multiprocessing\n"
        "def tell():\n"
        "    while not multiprocessing.active_children(): time.sleep(0.02)\n"
        "    print(*[c.pid for c in multiprocessing.active_children()], flush=True)\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=tell, daemon=True).start()\n"
        "    list(map_unordered(time.sleep, [60.0], workers=1))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert workers
        wait_until(lambda: all(_is_up(pid) for pid in workers))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: all(ended(pid) for pid in workers))
