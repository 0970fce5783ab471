"""The safety contract, row by row, and the page that a run of the fault suite writes about it.

Rows in which the arm moves are provoked in ``tests/faults`` and timed at the robot; the others are refusals and data
faults, whose tests live beside what they test. ``ELSEWHERE`` names those, and a test checks that they exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

CONTRACT: dict[int, tuple[str, str]] = {
    1: ("an action with NaN, Inf or a wrong shape", "dropped whole, velocity 0; three in a row HALT"),
    2: ("an action beyond the step limit, or towards a place outside motion_box", "scaled and counted; too many HALT"),
    3: ("outside motion_box, near a joint limit or a singularity when arming", "refused, with where to guide the arm"),
    4: ("joint limit, singularity or tilt limit predicted while running", "slowed down, then HALTED"),
    5: ("an observation too old, or repeated by a frozen driver", "skipped at 150 ms, zero velocity at 300 ms"),
    6: ("a stamp in the future, or a clock that jumps", "HALTED"),
    7: ("too few points after the crop", "clouds held back, the arm stands still"),
    8: ("a transform missing or late", "not activated; the arm stands still"),
    9: ("calibration missing or old, the camera moved", "refused, or HALTED; an override is logged"),
    10: ("the camera is unplugged", "stop; waited for; re-armed by hand"),
    11: ("the command stream stops", "the last command expires after 200 ms, zero within 0.4 s"),
    12: ("the arm node crashes", "the robot stops by itself; the node comes back DISARMED"),
    13: ("reflex, collision, joint limit violation", "HALTED by name; no automatic resume"),
    14: ("fewer than 90 % of the control commands in time", "HALTED, naming kernel and network"),
    15: ("user stop, guiding mode, brakes, FCI off", "refused or HALTED, naming the step on Desk"),
    16: ("inference overrun, late commands", "skipped and counted; too many in a row HALT"),
    17: ("a second command source", "one owner; taking over is explicit"),
    18: ("teleoperation device lost, dead-man released", "zero twist"),
    19: ("STOP, HALTED, DISARMED, exit", "the gripper keeps its grip"),
    20: ("gripper hangs, dies, refuses, is not homed, loses its object", "HALTED or refused, by name"),
    21: ("trial time limit, success, STOP", "ramp to zero, ARMED; the way back is explicit and checked"),
    22: ("ARMED and idle", "DISARMED"),
    23: ("disk full while recording", "told at once; the episode is closed readable"),
    24: ("kill -9 while recording", "recoverable up to the last second"),
    25: ("another or a damaged checkpoint", "refused at configure, naming the field"),
    26: ("malformed bag, dataset or YAML", "an error that names file and field; the rest converts"),
    27: ("a listener of the arm is frozen", "the arm node does not wait for it"),
}

ELSEWHERE: dict[int, tuple[str, ...]] = {
    2: ("tests/ros/test_arm.py::test_the_arm_never_leaves_its_motion_box_and_halts_when_it_is_asked_to",),
    4: ("tests/core/control/test_envelope.py::test_tilting_stops_at_its_limit",),
    5: (
        "tests/ros/test_policy.py::test_an_untimely_observation_gives_no_command_and_a_reason",
        "tests/ros/test_camera.py::test_a_frozen_camera_is_held_back_and_connected_again",
    ),
    6: ("tests/core/control/test_commands.py::test_a_jump_of_the_wall_clock_is_seen_and_slow_steering_is_not",),
    8: ("tests/ros/test_cloud.py::test_without_a_transform_clouds_are_held_back_and_the_frames_named",),
    9: (
        "tests/ros/test_calibrated_tf.py::test_an_old_calibration_is_refused_and_an_override_is_logged",
        "tests/ros/test_calibrated_tf.py::test_a_missing_calibration_says_how_to_get_one",
    ),
    16: ("tests/ros/test_policy.py::test_ticks_keep_the_beat_whether_or_not_a_command_comes_of_them",),
    18: (
        "tests/ros/test_teleop.py::test_the_dead_man_let_go_is_a_step_of_zero_at_once",
        "tests/ros/test_teleop.py::test_a_lost_device_is_zero_twist_the_operator_hears_it_and_the_episode_ends",
    ),
    21: ("tests/ros/test_trials.py::test_the_time_limit_ends_the_trial_as_a_failure",),
    23: ("tests/ros/test_recorder.py::test_a_full_disk_is_told_at_once_and_leaves_a_readable_episode",),
    24: ("tests/ros/test_recorder.py::test_a_killed_recorder_leaves_a_bag_that_can_be_recovered",),
    25: (
        "tests/ros/test_policy.py::test_a_truncated_checkpoint_is_refused_by_file",
        "tests/ros/test_policy.py::test_a_cloud_node_with_another_spec_is_refused_by_field",
    ),
    26: (
        "tests/core/data/test_bags.py",
        "tests/core/test_cell_config.py",
        "tests/core/calibration/test_result.py",
    ),
    27: (
        "tests/ros/test_arm.py::test_it_shares_no_memory_with_listeners_that_could_freeze",
        "tests/core/control/test_teller.py",
    ),
}


@dataclass(frozen=True)
class Entry:
    """One fault that was provoked.

    Attributes:
        row: of the contract.
        provoked: how.
        response: what the stack did, in its own words where it has any.
        seconds: from the fault to zero commanded velocity at the robot; None where nothing moved.
        robot_speed: the robot's own time against the wall clock meanwhile; 1 on a machine that keeps up.
    """

    row: int
    provoked: str
    response: str
    seconds: float | None = None
    robot_speed: float = 1.0


def page(entries: Iterable[Entry], machine: str) -> str:
    """The results as Markdown."""
    by_row: dict[int, list[Entry]] = {row: [] for row in CONTRACT}
    for entry in entries:
        by_row[entry.row].append(entry)
    lines = [
        "# Every fault of the contract, provoked",
        "",
        "<!-- Written by `make faults`. -->",
        "",
        "The nodes and the vendor's libraries (franky, librealsense) as they run on the robot, in front of a robot",
        "control interface and a camera that fail on request. The time runs from the fault to zero commanded velocity,",
        "as the robot received it: detection, transport and ramp included. A dash: nothing moves in this case.",
        "",
        f"Measured on {machine}.",
        "",
        "| row | provoked how | zero after | response |",
        "|---|---|---|---|",
    ]
    for row, (fault, promised) in CONTRACT.items():
        for entry in by_row[row]:
            time_text = "-" if entry.seconds is None else f"{entry.seconds * 1e3:.0f} ms"
            if entry.seconds is not None and entry.robot_speed < 0.9:
                time_text += f" (robot at {entry.robot_speed:.1f} of its speed)"
            lines.append(f"| {row} | {_cell(entry.provoked)} | {time_text} | {_cell(entry.response)} |")
        if not by_row[row]:
            lines.append(f"| {row} | {fault}: in the tests below | - | {promised} |")
    lines += ["", "Tests of the contract that live beside what they test:", ""]
    for row, tests in ELSEWHERE.items():
        lines.append(f"- row {row}: " + ", ".join(f"`{test}`" for test in tests))
    return "\n".join(lines) + "\n"


def save(entries: Iterable[Entry], path: Path) -> None:
    """Write the entries as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n", encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
