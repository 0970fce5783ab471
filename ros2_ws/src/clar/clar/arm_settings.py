"""Parameters of the arm node, and what they and the cell file mean for controller and drivers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clar import names
from clar.drivers.franka import GUIDING_AXES, FrankaConfig, Impedance
from clar.drivers.franka_gripper import FrankaGripperConfig
from clar.node import NodeError
from clar.parameters import LifecycleParameters, parameter
from clar_core.cell_config import CellConfig
from clar_core.control.commands import CommandLimits
from clar_core.control.controller import ControllerSettings
from clar_core.control.envelope import EnvelopeLimits
from clar_core.control.tracking import DEFAULT_GAINS, TrackingGains

_BRAKING_M_S2 = 6.7
"""Deceleration at full dynamics that streamed twists reach: three quarters of the FR3's 9 m/s^2."""


@dataclass(frozen=True, kw_only=True)
class ArmParameters(LifecycleParameters):
    """Parameters of the arm node. Times are for commands at 10 Hz."""

    cell: str = parameter(description="The cell file; `clar cell init` writes one.")
    hardware: str = parameter("real", "A robot, or the simulated cell.", choices=("real", "sim"))
    robot_ip: str = parameter("", "Address of the robot; empty: the cell file's.")
    auto_arm: bool = parameter(False, "Arm as soon as active; for the simulated cell only.")
    realtime: str = parameter(
        "auto", "Insist on a real-time kernel; auto: with a robot, not in simulation.", choices=("auto", "on", "off")
    )
    dynamics: float = parameter(
        0.3, "Fraction of the robot's velocity, acceleration and jerk limits in use.", minimum=0.01, maximum=1.0
    )
    home_speed: float = parameter(0.15, "The same for the way home.", minimum=0.01, maximum=0.5)
    tracking: str = parameter(
        "velocity",
        "How the arm follows: by velocity, stiff and exact; or by a spring to the reference, for tasks in contact.",
        choices=("velocity", "impedance"),
    )
    stiffness_n_m: float = parameter(
        Impedance().stiffness_n_m, "Of tracking impedance.", unit="N/m", minimum=50.0, maximum=3000.0
    )
    stiffness_nm_rad: float = parameter(
        Impedance().stiffness_nm_rad, "Of tracking impedance.", unit="Nm/rad", minimum=5.0, maximum=300.0
    )
    gain_translation_hz: float = parameter(
        DEFAULT_GAINS.translation_hz, "Position correction, per metre of error.", unit="1/s", minimum=0.5, maximum=20.0
    )
    gain_rotation_hz: float = parameter(
        DEFAULT_GAINS.rotation_hz, "Orientation correction, per radian of error.", unit="1/s", minimum=0.5, maximum=20.0
    )
    step_translation_m: float = parameter(0.05, "Longest step of one command.", unit="m", minimum=0.001, maximum=0.1)
    step_rotation_rad: float = parameter(
        0.25, "Largest rotation of one command.", unit="rad", minimum=0.005, maximum=0.5
    )
    velocity_m_s: float = parameter(0.5, "Highest speed of the TCP.", unit="m/s", minimum=0.01, maximum=1.0)
    acceleration_m_s2: float = parameter(
        3.0, "How fast the speed may grow between commands.", unit="m/s^2", minimum=0.1, maximum=9.0
    )
    tilt_max_deg: float = parameter(
        70.0, "Largest angle between the TCP's z axis and straight down.", unit="deg", minimum=1.0, maximum=180.0
    )
    leash_m: float = parameter(
        0.02, "Largest distance of the commanded from the measured pose.", unit="m", minimum=0.002, maximum=0.1
    )
    leash_deg: float = parameter(5.0, "Largest angle between them.", unit="deg", minimum=0.5, maximum=30.0)
    leash_time_s: float = parameter(1.0, "Halt when the leash is taut for longer.", unit="s", minimum=0.1, maximum=10.0)
    clamped_fraction_max: float = parameter(
        0.5, "Halt when more of the commands of one second exceed limits.", minimum=0.0, maximum=1.0
    )
    command_age_max_s: float = parameter(0.2, "A command expires after this.", unit="s", minimum=0.1, maximum=0.3)
    observation_drop_age_s: float = parameter(
        0.15, "Commands from older observations are dropped.", unit="s", minimum=0.05, maximum=1.0
    )
    observation_halt_age_s: float = parameter(
        0.3, "Commands from even older observations halt.", unit="s", minimum=0.1, maximum=2.0
    )
    late_in_a_row_max: int = parameter(5, "More late commands in a row halt.", minimum=1, maximum=100)
    silence_halt_s: float = parameter(
        1.0, "RUNNING without a usable command for longer halts.", unit="s", minimum=0.3, maximum=10.0
    )
    idle_disarm_s: float = parameter(60.0, "ARMED and idle for longer disarms.", unit="s", minimum=1.0, maximum=600.0)
    success_rate_min: float = parameter(
        0.9, "A lower rate of control commands that reach the robot in time halts.", minimum=0.0, maximum=1.0
    )
    torque_threshold_nm: float = parameter(
        20.0, "Contact torque at which the robot stops itself.", unit="Nm", minimum=1.0, maximum=80.0
    )
    force_threshold_n: float = parameter(
        30.0, "Contact force at which the robot stops itself.", unit="N", minimum=1.0, maximum=100.0
    )
    guiding_axes: tuple[str, ...] = parameter(
        (), f"Axes that are free while the arm is guided by hand, of {', '.join(GUIDING_AXES)}; empty: as it is."
    )
    required_gates: tuple[str, ...] = parameter(
        (), "Checks that must have spoken on /clar/gates before the arm may be armed; the launch sets them."
    )
    overridden_gates: tuple[str, ...] = parameter(
        (), "Checks whose objections are only logged. For those who know why: the arm moves against them."
    )
    halt_on_object_lost: bool = parameter(True, "Halt when the gripper loses what it grasped.")


def check_combination(parameters: ArmParameters, use_sim_time: bool) -> None:
    """Refuse parameters that must not meet. Raises NodeError naming them."""
    p = parameters
    if p.hardware == "real" and p.auto_arm:
        raise NodeError("auto_arm: refused with hardware:=real; arm by hand with `clar arm`")
    if p.hardware == "real" and use_sim_time:
        raise NodeError("use_sim_time: refused with hardware:=real, where time is the wall clock; leave it out")
    unknown = [axis for axis in p.guiding_axes if axis not in GUIDING_AXES]
    if unknown:
        raise NodeError(f"guiding_axes: expected some of {', '.join(GUIDING_AXES)}, got {', '.join(unknown)}")
    if p.observation_drop_age_s > p.observation_halt_age_s:
        raise NodeError(
            f"observation_drop_age_s ({p.observation_drop_age_s:g} s) must not exceed observation_halt_age_s"
            f" ({p.observation_halt_age_s:g} s)"
        )


def controller_settings(parameters: ArmParameters, cell: CellConfig) -> ControllerSettings:
    """What the controller needs to know."""
    p = parameters
    return ControllerSettings(
        envelope=EnvelopeLimits(
            motion_box_min_m=cell.motion_box.min_m,
            motion_box_max_m=cell.motion_box.max_m,
            keep_outs=cell.keep_out_boxes,
            step_translation_m=p.step_translation_m,
            step_rotation_rad=p.step_rotation_rad,
            velocity_m_s=p.velocity_m_s,
            acceleration_m_s2=p.acceleration_m_s2,
            braking_m_s2=_BRAKING_M_S2 * p.dynamics,
            tilt_max_rad=math.radians(p.tilt_max_deg),
            leash_m=p.leash_m,
            leash_rad=math.radians(p.leash_deg),
            leash_time_s=p.leash_time_s,
            clamped_fraction_max=p.clamped_fraction_max,
        ),
        commands=CommandLimits(
            base_frame=names.BASE_FRAME,
            command_age_max_s=p.command_age_max_s,
            observation_drop_age_s=p.observation_drop_age_s,
            observation_halt_age_s=p.observation_halt_age_s,
            late_in_a_row_max=p.late_in_a_row_max,
        ),
        gains=TrackingGains(p.gain_translation_hz, p.gain_rotation_hz),
        idle_disarm_s=p.idle_disarm_s,
        silence_halt_s=p.silence_halt_s,
        success_rate_min=p.success_rate_min,
        halt_on_object_lost=p.halt_on_object_lost,
    )


def franka_config(parameters: ArmParameters, cell: CellConfig) -> FrankaConfig:
    """How to reach and configure the arm."""
    p, load = parameters, cell.load
    xx, yy, zz = load.inertia_kg_m2
    return FrankaConfig(
        host=p.robot_ip or cell.robot_ip,
        realtime=p.realtime == "on" or (p.realtime == "auto" and p.hardware == "real"),
        dynamics=p.dynamics,
        torque_threshold_nm=p.torque_threshold_nm,
        force_threshold_n=p.force_threshold_n,
        flange_T_tcp=cell.flange_T_tcp,
        load_mass_kg=load.mass_kg,
        load_centre_m=load.centre_m,
        load_inertia_kg_m2=(xx, 0.0, 0.0, 0.0, yy, 0.0, 0.0, 0.0, zz),
        guiding_axes=p.guiding_axes,
        impedance=Impedance(stiffness_n_m=p.stiffness_n_m, stiffness_nm_rad=p.stiffness_nm_rad),
    )


def gripper_config(parameters: ArmParameters, cell: CellConfig) -> FrankaGripperConfig:
    """How to reach the hand, and how it moves."""
    return FrankaGripperConfig(
        host=parameters.robot_ip or cell.robot_ip,
        force_n=cell.gripper.force_n,
        speed_m_s=cell.gripper.speed_m_s,
        max_width_m=cell.gripper.max_width_m,
    )
