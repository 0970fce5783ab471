"""The live cell as a process: start, snapshots, resets, errors that say what to do, and no process left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import mujoco
import numpy as np
import pytest

from clar_core.simulation.live import LiveCell, LiveCellError
from clar_core.simulation.live_physics import PortInUseError
from clar_core.simulation.live_view import LiveView
from clar_core.simulation.scene import HOME_JOINT_POSITIONS_RAD, RobotIndices, compile_model
from clar_core.simulation.tasks import UnknownTaskError, get_task

TASK, OTHER_TASK = "place_cube_in_basin", "open_drawer"
PATIENCE_S = 60.0


@pytest.fixture
def cell(fci_address: str) -> Iterator[LiveCell]:
    with LiveCell(TASK, 3, address=fci_address) as cell:
        yield cell


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    with suppress(FileNotFoundError), open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def _scene(task: str = TASK) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = compile_model(get_task(task))
    return model, mujoco.MjData(model)


def test_time_passes_and_the_arm_holds_home(cell: LiveCell) -> None:
    first = cell.snapshot()
    _await(lambda: cell.snapshot().simulated_time_s > first.simulated_time_s + 0.5, "half a simulated second")
    model, data = _scene()
    cell.snapshot().apply(model, data)
    joints = data.qpos[RobotIndices.of(model).arm_qpos]
    assert np.abs(joints - HOME_JOINT_POSITIONS_RAD).max() < 1e-3


def test_snapshots_carry_the_time_at_which_they_were_taken(cell: LiveCell) -> None:
    before_ns, before = time.time_ns(), cell.snapshot().number
    _await(lambda: cell.snapshot().number > before + 1, "another snapshot")
    snapshot = cell.snapshot()
    assert before_ns <= snapshot.wall_ns <= time.time_ns()
    assert snapshot.monotonic_ns <= time.monotonic_ns()
    assert 0.0 < snapshot.real_time_factor < 1.5
    assert not snapshot.client_connected


def test_reset_draws_the_same_start_as_the_task_does_for_a_seed(cell: LiveCell) -> None:
    model, data = _scene()
    expected_model, expected = _scene()
    cell.reset(17)
    snapshot = cell.snapshot()
    snapshot.apply(model, data)
    get_task(TASK).reset(expected_model, expected, np.random.default_rng(17))
    assert snapshot.seed == 17
    indices = RobotIndices.of(model)
    robot = [*indices.arm_qpos, *indices.finger_qpos]
    # A millimetre for the cube, which may have settled on the table since.
    np.testing.assert_allclose(np.delete(data.qpos, robot), np.delete(expected.qpos, robot), atol=2e-3)


def test_reset_leaves_the_arm_where_it_is(cell: LiveCell) -> None:
    model, data = _scene()
    indices = RobotIndices.of(model)
    cell.snapshot().apply(model, data)
    before = data.qpos[indices.arm_qpos].copy()
    cell.reset(5)
    cell.snapshot().apply(model, data)
    np.testing.assert_allclose(data.qpos[indices.arm_qpos], before, atol=1e-4)


def test_reset_to_another_task_loads_its_scene_around_the_same_robot(cell: LiveCell) -> None:
    epoch = cell.snapshot().epoch
    cell.reset(8, OTHER_TASK)
    snapshot = cell.snapshot()
    assert (cell.task, snapshot.seed, snapshot.epoch) == (OTHER_TASK, 8, epoch + 1)
    model, data = _scene(OTHER_TASK)
    snapshot.apply(model, data)
    joints = data.qpos[RobotIndices.of(model).arm_qpos]
    assert np.abs(joints - HOME_JOINT_POSITIONS_RAD).max() < 1e-3


def test_view_sees_the_cell_and_judges_the_task(cell: LiveCell) -> None:
    view = LiveView(TASK)
    try:
        view.show(cell.snapshot())
        depth, color = view.depth(), view.color()
        assert (depth.shape, depth.dtype) == ((480, 640), np.uint16)
        assert (color.shape, color.dtype) == ((480, 640, 3), np.uint8)
        assert np.count_nonzero(depth) > 0.3 * depth.size
        assert not view.success()
    finally:
        view.close()


def test_unknown_task_is_refused_with_the_nearest_name(cell: LiveCell) -> None:
    with pytest.raises(UnknownTaskError, match="did you mean place_cube_in_basin"):
        cell.reset(0, "place_cube_in_basins")
    with pytest.raises(UnknownTaskError, match="did you mean open_drawer"):
        LiveCell("open_drawers")


def test_a_seed_that_numpy_refuses_is_refused_and_the_cell_goes_on(cell: LiveCell) -> None:
    with pytest.raises(LiveCellError, match="non-negative"):
        cell.reset(-1)
    cell.reset(1)
    assert cell.snapshot().seed == 1


@pytest.mark.parametrize("port", [1337, 1338])
def test_taken_port_is_named_with_the_command_that_finds_its_owner(fci_address: str, port: int) -> None:
    with socket.create_server((fci_address, port)), pytest.raises(PortInUseError) as error:
        LiveCell(TASK, address=fci_address)
    text = str(error.value)
    assert f"port {port} at {fci_address} is in use" in text
    assert f"ss -ltnp 'sport = :{port}'" in text


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen at 192\.0\.2\.1:1337.*set robot_ip"):
        LiveCell(TASK, address="192.0.2.1")


def test_close_ends_the_process_and_frees_the_ports(fci_address: str) -> None:
    cell = LiveCell(TASK, address=fci_address)
    cell.close()
    cell.close()
    assert not _is_running(cell.pid)
    LiveCell(TASK, address=fci_address).close()


def test_death_of_the_physics_process_is_reported(cell: LiveCell) -> None:
    def has_ended() -> bool:
        try:
            cell.check()
        except LiveCellError:
            return True
        return False

    os.kill(cell.pid, signal.SIGKILL)
    _await(has_ended, "the end of the process")
    with pytest.raises(LiveCellError, match=rf"pid {cell.pid}\) has ended with status -9.*restart"):
        cell.snapshot()
    with pytest.raises(LiveCellError):
        cell.reset(1)


def test_ctrl_c_of_a_terminal_does_not_end_the_physics(cell: LiveCell) -> None:
    os.kill(cell.pid, signal.SIGINT)
    cell.reset(2)
    assert cell.snapshot().seed == 2


def test_physics_ends_when_its_parent_is_killed(fci_address: str) -> None:
    script = (
        "import sys, time; from clar_core.simulation.live import LiveCell;"
        f"cell = LiveCell({TASK!r}, address={fci_address!r}); print(cell.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    try:
        _await(lambda: not _is_running(pid), "the end of the physics process")
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
