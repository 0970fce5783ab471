import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from clar_core.control.controller import ArmController, ControllerSettings
from clar_core.control.envelope import EnvelopeLimits, KeepOut
from clar_core.control.loop import ArmLoop, LoopState
from clar_core.control.robot import DISCONNECTED, RobotError, RobotReading
from clar_core.control.supervisor import Mode, RefusedError
from clar_core.control.travel import check_path
from tests.core.control.fake_robot import JOINTS, T_START, FakeArm, FakeGripper

LIMITS = EnvelopeLimits(
    motion_box_min_m=(0.2, -0.4, 0.1),
    motion_box_max_m=(0.8, 0.4, 0.6),
    keep_outs=(KeepOut("camera stand", (0.6, 0.2, 0.1), (0.7, 0.3, 0.6)),),
)


class TimedArm(FakeArm):
    """Reads are always fresh, as from a robot."""

    def reading(self) -> RobotReading:
        self.time_s = time.monotonic()
        return super().reading()


class Rig:
    def __init__(self, *, impedance: bool = False) -> None:
        self.arm, self.gripper = TimedArm(), FakeGripper()
        self.controller = ArmController(ControllerSettings(envelope=LIMITS))
        self.states: list[LoopState] = []
        self.problems: list[str] = []
        self.callback: Callable[[LoopState], None] = self.states.append
        self.loop = ArmLoop(
            self.controller,
            self.arm,
            self.gripper,
            on_state=lambda state: self.callback(state),
            on_problem=self.problems.append,
            period_s=0.001,
            impedance=impedance,
        )
        self.loop.start()

    def make_armed(self) -> None:
        self.controller.arm(self.loop.state.arm, self.gripper.read(), time.monotonic())

    def make_running(self) -> None:
        self.make_armed()
        self.controller.start("policy", self.loop.state.arm, self.gripper.read(), time.monotonic())

    def until(self, condition: Callable[[], object], what: str) -> None:
        end_s = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < end_s, what
            time.sleep(0.002)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.loop.close("the test ends")


def test_states_stream_in_every_mode(rig: Rig) -> None:
    rig.until(lambda: len(rig.states) > 5, "no states")
    assert rig.controller.mode is Mode.DISARMED
    assert rig.arm.sent == []


def test_running_sends_twists_and_stopping_ramps_down_once(rig: Rig) -> None:
    rig.make_running()
    rig.until(lambda: len(rig.arm.sent) > 3, "no twists")
    rig.controller.stop("test", time.monotonic())
    rig.until(lambda: rig.arm.ramps, "no ramp down")
    count = len(rig.states)
    rig.until(lambda: len(rig.states) > count + 10, "no states")
    assert rig.arm.ramps == 1
    sent = len(rig.arm.sent)
    rig.until(lambda: len(rig.states) > count + 20, "no states")
    assert len(rig.arm.sent) == sent


def test_with_impedance_the_arm_is_given_the_reference_pose_and_comes_to_rest_the_same_way() -> None:
    rig = Rig(impedance=True)
    try:
        rig.make_running()
        rig.until(lambda: len(rig.arm.references) > 3, "no references")
        T_reference, feedforward = rig.arm.references[-1]
        assert T_reference == pytest.approx(rig.arm.T)
        assert feedforward == pytest.approx(np.zeros(6))
        rig.arm.fail["send_reference"] = RobotError("cartesian_reflex")
        rig.until(lambda: rig.controller.mode is Mode.HALTED, "no halt")
        assert rig.arm.sent == []
    finally:
        rig.loop.close("the test ends")


@pytest.mark.parametrize("call", ["send_twist", "poll"])
def test_a_failing_robot_halts_and_is_reported_once(rig: Rig, call: str) -> None:
    rig.make_running()
    rig.arm.fail[call] = RobotError("cartesian_reflex")
    rig.until(lambda: rig.controller.mode is Mode.HALTED, "no halt")
    assert rig.controller.reason == "cartesian_reflex"
    count = len(rig.states)
    rig.until(lambda: len(rig.states) > count + 5, "states go on")
    assert rig.problems == ["cartesian_reflex"]


def test_a_lost_connection_shows_in_the_state_and_recovery_ends_it(rig: Rig) -> None:
    rig.make_running()
    rig.arm.fail["read"] = RobotError("connection lost")
    rig.until(lambda: rig.states and rig.states[-1].arm.robot_mode == DISCONNECTED, "nobody was told")
    assert rig.controller.mode is Mode.HALTED
    rig.loop.recover()
    assert rig.arm.recoveries == 1
    assert rig.controller.mode is Mode.DISARMED


def test_recovery_is_refused_while_armed(rig: Rig) -> None:
    rig.make_armed()
    with pytest.raises(RefusedError, match="nothing is wrong"):
        rig.loop.recover()


def test_a_failing_recovery_leaves_it_halted(rig: Rig) -> None:
    rig.make_running()
    rig.controller.halt("test", time.monotonic())
    rig.arm.fail["recover"] = RobotError("error recovery did not return within 10 s")
    with pytest.raises(RobotError, match="did not return"):
        rig.loop.recover()
    assert rig.controller.mode is Mode.HALTED


def test_the_loop_survives_a_callback_that_raises_and_halts(rig: Rig) -> None:
    rig.make_running()

    def broken(state: LoopState) -> None:
        raise KeyError("oops")

    rig.callback = broken
    rig.until(lambda: rig.controller.mode is Mode.HALTED, "no halt")
    assert "KeyError" in rig.controller.reason
    rig.callback = rig.states.append
    count = len(rig.states)
    rig.until(lambda: len(rig.states) > count + 5, "the loop died")


def test_home_moves_to_the_joints_and_returns_when_there(rig: Rig) -> None:
    rig.make_armed()
    goal = JOINTS + 0.1
    rig.loop.home(goal, 0.1)
    assert rig.arm.joints == pytest.approx(goal)
    assert rig.controller.mode is Mode.ARMED


@pytest.mark.parametrize("start", [lambda rig: None, lambda rig: rig.make_running()])
def test_home_is_refused_unless_armed(rig: Rig, start: Callable[[Rig], None]) -> None:
    start(rig)
    with pytest.raises(RefusedError, match="only while ARMED"):
        rig.loop.home(JOINTS, 0.1)


def test_stop_ends_the_way_home(rig: Rig) -> None:
    rig.make_armed()
    rig.arm.poll = lambda: rig.arm.ramps == 0  # type: ignore[method-assign]
    errors: list[Exception] = []

    def home() -> None:
        try:
            rig.loop.home(JOINTS + 0.1, 0.1)
        except RefusedError as error:
            errors.append(error)

    thread = threading.Thread(target=home)
    thread.start()
    rig.until(lambda: rig.controller.homing, "not on the way")
    rig.controller.stop("stopped by the operator", time.monotonic())
    thread.join(20.0)
    assert "the way home was stopped: stopped by the operator" in str(errors[0])
    assert rig.arm.ramps == 1


def test_the_way_back_to_the_start_is_straight_and_only_after_a_start(rig: Rig) -> None:
    rig.make_armed()
    with pytest.raises(RefusedError, match="no START yet"):
        rig.loop.return_to_start(0.1)
    T_start = rig.arm.T.copy()
    rig.controller.start("policy", rig.loop.state.arm, rig.gripper.read(), time.monotonic())
    rig.controller.stop("enough", time.monotonic())
    rig.arm.T = T_start.copy()
    rig.arm.T[0, 3] += 0.05
    rig.until(lambda: rig.loop.state.arm.T_base_tcp[0, 3] > T_start[0, 3] + 0.04, "the arm elsewhere")
    rig.loop.return_to_start(0.1)
    np.testing.assert_allclose(rig.arm.T, T_start)
    assert rig.controller.mode is Mode.ARMED


def test_a_way_back_through_a_keep_out_is_refused_by_place(rig: Rig) -> None:
    rig.arm.T[:3, 3] = (0.55, 0.25, 0.3)
    rig.until(lambda: rig.loop.state.arm.T_base_tcp[1, 3] > 0.2, "the arm on this side")
    rig.make_running()
    rig.controller.stop("enough", time.monotonic())
    rig.arm.T = rig.arm.T.copy()
    rig.arm.T[0, 3] = 0.75
    rig.until(lambda: rig.loop.state.arm.T_base_tcp[0, 3] > 0.7, "the arm on the other side")
    with pytest.raises(RefusedError, match="the way back to the start crosses keep-out 'camera stand'"):
        rig.loop.return_to_start(0.1)
    assert not rig.controller.homing


def test_the_gripper_is_homed_by_request_and_never_while_running(rig: Rig) -> None:
    rig.loop.home_gripper()
    assert rig.gripper.read().max_width_m == 0.08
    rig.make_running()
    with pytest.raises(RefusedError, match="cannot home the gripper while RUNNING"):
        rig.loop.home_gripper()


def test_an_arm_that_does_not_arrive_home_is_a_fault(rig: Rig) -> None:
    rig.make_armed()
    rig.arm.poll = lambda: False  # type: ignore[method-assign]
    with pytest.raises(RobotError, match=r"5\.7 degrees away"):
        rig.loop.home(JOINTS + 0.1, 0.1)


def test_the_gripper_belongs_to_the_owner_while_running(rig: Rig) -> None:
    rig.loop.request_gripper(True)
    assert rig.gripper.requests == [True]
    rig.make_running()
    with pytest.raises(RefusedError, match="belongs to 'policy'"):
        rig.loop.request_gripper(True)


def test_closing_disarms_ramps_down_and_keeps_the_grip() -> None:
    rig = Rig()
    rig.make_running()
    rig.until(lambda: rig.arm.sent, "no twists")
    rig.loop.close("the end")
    assert rig.controller.mode is Mode.DISARMED
    assert rig.controller.reason == "the end"
    assert rig.arm.ramps == 1
    assert rig.gripper.requests == []


def at(*position: float) -> np.ndarray:
    T = T_START.copy()
    T[:3, 3] = position
    return T


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([at(0.5, 0, 0.3), at(0.5, 0, 0.7), at(0.5, 0, 0.3)], r"leaves motion_box at \(0.500, 0.000, 0.700\)"),
        ([at(0.5, 0.25, 0.3), at(0.65, 0.25, 0.3)], "crosses keep-out 'camera stand'"),
    ],
)
def test_a_way_home_outside_the_bounds_is_refused_by_place(path: list[np.ndarray], text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        check_path(np.array(path), LIMITS)
