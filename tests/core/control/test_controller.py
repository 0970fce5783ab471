import dataclasses
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clar_core.control.commands import Command
from clar_core.control.controller import ArmController, ControllerSettings
from clar_core.control.envelope import EnvelopeLimits
from clar_core.control.gates import Gate, Gates
from clar_core.control.orders import Accepted
from clar_core.control.robot import GripperReading
from clar_core.control.supervisor import Change, Mode, RefusedError
from tests.core.control.fake_robot import T_START, FakeArm

LIMITS = EnvelopeLimits(motion_box_min_m=(0.2, -0.4, 0.1), motion_box_max_m=(0.8, 0.4, 0.6))
SETTINGS = ControllerSettings(envelope=LIMITS)
OPEN = GripperReading(width_m=0.08, max_width_m=0.08, is_grasped=False)
STEP = (0.01, 0, 0, 0, 0, 0, 1.0)
PERIOD_S = 0.02


class Rig:
    """Controller and arm in virtual time."""

    def __init__(self, settings: ControllerSettings = SETTINGS) -> None:
        self.changes: list[Change] = []
        self.controller = ArmController(settings, self.changes.append)
        self.arm = FakeArm()
        self.gripper: GripperReading | None = OPEN
        self.sequence = 0

    @property
    def now_s(self) -> float:
        return self.arm.time_s

    @property
    def mode(self) -> Mode:
        return self.controller.mode

    def start(self, owner: str = "policy") -> "Rig":
        if self.mode is Mode.DISARMED:
            self.controller.arm(self.arm.reading(), self.gripper, self.now_s)
        self.controller.start(owner, self.arm.reading(), self.gripper, self.now_s)
        return self

    def command(self, values: object = STEP, **changes: object) -> Accepted:
        self.sequence += 1
        wall_ns = int(self.now_s * 1e9)
        fields: dict[str, object] = {
            "values": values,
            "source": "policy",
            "sequence": self.sequence,
            "frame_id": "fr3_link0",
            "stamp_ns": wall_ns,
            "observation_stamp_ns": wall_ns + 1,
        }
        command = Command(**{**fields, **changes})  # type: ignore[arg-type]
        return self.controller.accept(command, self.arm.T, wall_ns, self.now_s)

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s / PERIOD_S)):
            order = self.controller.tick(self.arm.reading(), self.gripper, self.now_s)
            self.arm.advance(PERIOD_S, order.twist)

    def drive(self, values: object, ticks: int) -> None:
        for _ in range(ticks):
            self.command(values)
            self.run(0.1)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_ten_steps_are_followed_within_ten_millimetres_and_reached_within_one(rig: Rig) -> None:
    rig.start()
    for tick in range(1, 11):
        rig.command()
        rig.run(0.1)
        assert abs(0.5 + 0.01 * tick - rig.arm.T[0, 3]) < 0.01
    rig.drive((0, 0, 0, 0, 0, 0, 1.0), 5)
    assert rig.arm.T[:3, 3] == pytest.approx([0.6, 0, 0.3], abs=1e-3)
    assert rig.controller.T_commanded[:3, 3] == pytest.approx([0.6, 0, 0.3])


def test_when_commands_stop_the_arm_stands_still_within_400_ms(rig: Rig) -> None:
    rig.start().drive((0.02, 0, 0, 0, 0, 0, 1.0), 10)
    rig.run(0.3)
    assert np.abs(rig.arm.response.twist).max() < 2e-3
    assert rig.arm.T[0, 3] < 0.7 + 0.2**2 / (2 * 2.7) + 0.002  # what braking from 0.2 m/s takes


def test_an_observation_that_grows_older_than_300_ms_stops_the_arm_before_its_command_expires(rig: Rig) -> None:
    rig.start().drive(STEP, 3)
    wall_ns = int(rig.now_s * 1e9)
    assert rig.command(observation_stamp_ns=wall_ns - 140_000_000).executed
    rig.run(0.14)
    order = rig.controller.tick(rig.arm.reading(), rig.gripper, rig.now_s)
    assert order.twist is not None
    assert order.twist.any()
    rig.run(0.04)
    order = rig.controller.tick(rig.arm.reading(), rig.gripper, rig.now_s)
    assert order.twist is not None
    assert not order.twist.any()
    assert rig.mode is Mode.RUNNING


def test_a_skipped_tick_does_not_overshoot(rig: Rig) -> None:
    rig.start().drive(STEP, 5)
    rig.run(0.1)
    assert rig.arm.T[0, 3] < 0.5525


def test_silence_halts_by_name(rig: Rig) -> None:
    rig.start().drive(STEP, 2)
    rig.run(1.2)
    assert rig.mode is Mode.HALTED
    assert "no usable command came from 'policy'" in rig.controller.reason


def test_running_without_a_first_command_halts_after_ten_seconds(rig: Rig) -> None:
    rig.start().run(9.9)
    assert rig.mode is Mode.RUNNING
    rig.run(0.3)
    assert "no command came" in rig.controller.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_moves_nothing(rig: Rig, bad: float) -> None:
    rig.start()
    assert not rig.command((0.05, 0, 0, 0, 0, bad, 1.0)).executed
    rig.run(0.2)
    assert rig.arm.T == pytest.approx(T_START)  # noqa: SIM300
    assert rig.mode is Mode.RUNNING
    rig.command((bad, 0, 0, 0, 0, 0, 1.0))
    rig.command((bad, 0, 0, 0, 0, 0, 1.0))
    assert rig.mode is Mode.HALTED


def test_an_invalid_action_stops_the_step_before_it(rig: Rig) -> None:
    rig.start().drive(STEP, 3)
    rig.command()
    rig.run(0.04)
    rig.command((np.nan,) * 7)
    rig.run(0.3)
    assert rig.arm.T[0, 3] < 0.537
    assert rig.controller.T_commanded[0, 3] == pytest.approx(0.534, abs=1e-3)


def test_only_the_owner_moves_the_arm_and_others_are_ignored(rig: Rig) -> None:
    rig.start("policy")
    assert rig.command(source="teleop") == Accepted(False)
    rig.run(0.1)
    assert rig.arm.T == pytest.approx(T_START)  # noqa: SIM300
    assert rig.controller.rejected_count == 0


@pytest.mark.parametrize("mode", [Mode.DISARMED, Mode.ARMED, Mode.HALTED])
def test_nothing_moves_in_any_other_mode(rig: Rig, mode: Mode) -> None:
    if mode is not Mode.DISARMED:
        rig.controller.arm(rig.arm.reading(), OPEN, 0.0)
    if mode is Mode.HALTED:
        rig.controller.halt("test", 0.0)
    assert rig.mode is mode
    rig.drive(STEP, 3)
    assert rig.arm.T == pytest.approx(T_START)  # noqa: SIM300


def test_taking_over_starts_from_where_the_arm_is(rig: Rig) -> None:
    rig.start("policy").drive(STEP, 3)
    rig.command()
    rig.run(0.04)
    rig.start("teleop")
    assert rig.controller.T_commanded == pytest.approx(rig.arm.T)
    assert rig.changes[-1].previous_owner == "policy"
    assert rig.command() == Accepted(False)
    assert rig.command(source="teleop", observation_stamp_ns=0).executed


def test_a_new_start_accepts_a_source_that_counts_from_the_beginning_again(rig: Rig) -> None:
    rig.start().drive(STEP, 3)
    rig.controller.stop("again", rig.now_s)
    rig.sequence = 0
    rig.start()
    assert rig.command().executed


def test_stop_ramps_to_rest_and_keeps_the_grip(rig: Rig) -> None:
    rig.start().drive((0.03, 0, 0, 0, 0, 0, 0.0), 4)
    rig.controller.stop("operator", rig.now_s)
    x_m = rig.arm.T[0, 3]
    rig.run(0.3)
    assert rig.mode is Mode.ARMED
    assert rig.arm.T[0, 3] - x_m < 0.05
    assert np.abs(rig.arm.response.twist).max() < 1e-4
    assert rig.controller.gripper_target == 0.0


def test_the_gripper_target_at_start_is_its_present_state(rig: Rig) -> None:
    rig.gripper = dataclasses.replace(OPEN, width_m=0.044, is_grasped=True)
    rig.start()
    assert rig.controller.gripper_target == 0.0
    assert rig.command((0, 0, 0, 0, 0, 0, 0.9)).gripper_open is None
    assert rig.command((0, 0, 0, 0, 0, 0, 0.9)).gripper_open is True


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"errors": ("cartesian_reflex",), "robot_mode": "Reflex"}, "cartesian_reflex"),
        ({"robot_mode": "UserStopped"}, "release the user stop"),
        ({"robot_mode": "Guiding"}, "guiding"),
        ({"robot_mode": "Other"}, "unlock the brakes and activate FCI"),
        ({"read_at_s": -1.0}, "check the network"),
        ({"command_success_rate": 0.8}, "real-time kernel"),
    ],
)
def test_a_fault_of_the_robot_halts_and_names_the_next_step(rig: Rig, changes: dict, text: str) -> None:
    rig.start().drive(STEP, 6)
    rig.arm.change(**changes)
    rig.run(0.04)
    assert rig.mode is Mode.HALTED
    assert text in rig.controller.reason
    assert rig.controller.tick(rig.arm.reading(), OPEN, rig.now_s).twist is None


def test_a_fault_of_the_gripper_halts(rig: Rig) -> None:
    rig.start()
    rig.gripper = dataclasses.replace(OPEN, fault="the gripper did not finish")
    rig.run(0.02)
    assert rig.controller.reason == "the gripper did not finish"


def test_losing_the_grasped_object_halts_and_letting_go_does_not(rig: Rig) -> None:
    held = GripperReading(width_m=0.044, max_width_m=0.08, is_grasped=True, goal_open=False)
    rig.gripper = held
    rig.start().run(0.04)
    rig.gripper = dataclasses.replace(held, is_grasped=False, goal_open=True, busy=True)
    rig.run(0.04)
    assert rig.mode is Mode.RUNNING
    rig.gripper = held
    rig.run(0.04)
    rig.gripper = dataclasses.replace(held, is_grasped=False, width_m=0.0)
    rig.run(0.04)
    assert rig.controller.reason == "the grasped object was lost"


def test_a_grasp_of_nothing_is_no_lost_object(rig: Rig) -> None:
    closed = GripperReading(width_m=0.0015, max_width_m=0.08, is_grasped=True, goal_open=False)
    rig.gripper = closed
    rig.start().run(0.04)
    rig.gripper = dataclasses.replace(closed, is_grasped=False)
    rig.run(0.04)
    assert rig.mode is Mode.RUNNING


def outside(x: float) -> np.ndarray:
    T = T_START.copy()
    T[0, 3] = x
    return T


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"T_base_tcp": outside(0.9)}, "guide it by hand 100 mm towards -x"),
        ({"joints_rad": np.array([0, -0.6, 0, -3.03, 0, 1.75, 0.785])}, "joint 4 is at -174 degrees"),
        ({"jacobian": np.diag([1, 1, 1, 1, 1, 0.001]) @ np.eye(6, 7)}, "singularity"),
        ({"robot_mode": "UserStopped"}, "release the user stop"),
        ({"errors": ("joint_reflex",)}, "joint_reflex"),
    ],
)
def test_arming_is_refused_and_says_what_to_do(rig: Rig, changes: dict, text: str) -> None:
    rig.arm.change(**changes)
    with pytest.raises(RefusedError, match=text):
        rig.controller.arm(rig.arm.reading(), OPEN, 0.0)
    assert rig.mode is Mode.DISARMED


def test_a_closed_gate_refuses_to_arm_and_halts_by_name(rig: Rig) -> None:
    rig.controller.gates = Gates(required=("calibration",))
    with pytest.raises(RefusedError, match="no word from the gate 'calibration'"):
        rig.start()
    rig.controller.gates.update(Gate("calibration"))
    rig.start().drive(STEP, 2)
    assert rig.mode is Mode.RUNNING
    rig.controller.gates.update(Gate("scene", "the camera moved: calibrate again"))
    rig.run(0.1)
    assert rig.mode is Mode.HALTED
    assert rig.controller.reason == "scene: the camera moved: calibrate again"


def test_near_a_joint_limit_the_arm_slows_down_and_then_halts(rig: Rig) -> None:
    rig.start()
    rig.command()  # with this Jacobian, +x is +joint 1
    joints = rig.arm.joints.copy()
    speeds = []
    for margin_rad in (0.5, 0.1, 0.04):
        joints[0] = 2.7437 - margin_rad
        rig.arm.change(joints_rad=joints.copy())
        twist = rig.controller.tick(rig.arm.reading(), OPEN, rig.now_s).twist
        speeds.append(0.0 if twist is None else twist[0])
    assert speeds[0] > speeds[1] > 0.0
    assert speeds[2] == 0.0
    assert "joint 1 came within 2.3 degrees of its upper limit" in rig.controller.reason


def test_recovery_is_refused_while_the_user_stop_is_pressed(rig: Rig) -> None:
    rig.start()
    rig.arm.change(robot_mode="UserStopped")
    rig.run(0.02)
    with pytest.raises(RefusedError, match="release the user stop"):
        rig.controller.recovered(rig.arm.reading(), rig.now_s)
    assert rig.mode is Mode.HALTED
    rig.arm.change(robot_mode="Idle")
    rig.controller.recovered(rig.arm.reading(), rig.now_s)
    assert rig.mode is Mode.DISARMED
    assert rig.controller.T_commanded == pytest.approx(rig.arm.T)


def test_armed_and_idle_disarms_after_a_minute_but_not_on_the_way_home(rig: Rig) -> None:
    rig.controller.arm(rig.arm.reading(), OPEN, 0.0)
    rig.controller.begin_homing(0.0)
    rig.run(61.0)
    assert rig.mode is Mode.ARMED
    rig.controller.end_homing()
    rig.run(60.1)
    assert rig.mode is Mode.DISARMED


def test_no_start_on_the_way_home_and_stop_ends_it(rig: Rig) -> None:
    rig.controller.arm(rig.arm.reading(), OPEN, 0.0)
    rig.controller.begin_homing(0.0)
    with pytest.raises(RefusedError, match="on its way home"):
        rig.start()
    rig.controller.stop("operator", 0.1)
    assert not rig.controller.homing


def test_a_snapshot_never_shows_a_command_by_halves(rig: Rig) -> None:
    """The commanded pose is that of the sequence beside it, whatever other threads do meanwhile."""
    rig.start()
    T_of = {0: rig.controller.T_commanded}
    taken, finished = [], threading.Event()

    def take() -> None:
        while not finished.is_set():
            taken.append(rig.controller.snapshot())

    thread = threading.Thread(target=take)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for _ in range(200):
            rig.command((0.0001, 0, 0, 0, 0, 0, 1.0))
            T_of[rig.controller.last_sequence] = rig.controller.T_commanded
        finished.set()
        thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert len(taken) > 10
    for snapshot in taken:
        assert snapshot.T_commanded is T_of[snapshot.last_sequence]


numbers = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-0.06, 0.06), st.just(0.02))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[numbers] * 7), max_size=25), st.sampled_from([0.02, 0.1, 0.14]))
def test_whatever_is_commanded_the_arm_stays_in_its_box(stream: list[tuple[float, ...]], gap_s: float) -> None:
    rig = Rig().start()
    for values in stream:
        rig.command(values)
        rig.run(gap_s)
        assert not LIMITS.outside_m(rig.controller.T_commanded[:3, 3]).any()
        assert (rig.arm.T[:3, 3] > np.array(LIMITS.motion_box_min_m) - 0.004).all()
        assert (rig.arm.T[:3, 3] < np.array(LIMITS.motion_box_max_m) + 0.004).all()
        assert np.linalg.norm(rig.arm.response.twist[:3]) < 0.9
