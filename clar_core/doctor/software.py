"""ROS 2, DDS and the workspace, judged from the environment: nothing of ROS is imported."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from clar_core.doctor.finding import Finding, fail, ok, warn

_STAND_INS = ("tf2_ros", "tf_transformations", "sensor_msgs_py", "launch", "launch_ros")
_MARK = "__clar_stand_in__"
_DRIVERS = ("franky-control", "pyrealsense2", "torch", "numpy")


def workspace() -> list[Finding]:
    """Whether ROS 2 and this workspace are there, and which ROS packages are stand-ins."""
    missing = [name for name in ("rclpy", "clar", "clar_interfaces") if importlib.util.find_spec(name) is None]
    if missing:
        step = "`make setup` once, then `source setup.bash` in every shell"
        return [fail("workspace", f"not found: {', '.join(missing)}", step)]
    findings = [ok("workspace", f"rclpy {_installed('ros-rclpy') or 'of the distribution'}")]
    stand_ins = [name for name in _STAND_INS if is_stand_in(name)]
    if stand_ins:
        step = "fine here; on the robot's machine ROS 2 Jazzy has the real ones"
        return [*findings, warn("stand-ins", ", ".join(stand_ins), step)]
    return [*findings, ok("stand-ins", "none, the real ROS packages are installed")]


def is_stand_in(package: str) -> bool:
    """Whether an importable package is one of the project's stand-ins; it is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    return _MARK in Path(spec.origin).read_text(encoding="utf-8")


def versions() -> list[Finding]:
    """Versions of what talks to hardware and computes."""
    return [
        ok(name, version)
        if (version := _installed(name))
        else fail(name, "not installed", "run `make setup` (requirements/hardware.txt)")
        for name in _DRIVERS
    ]


def dds(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Whether this shell's DDS settings let images through, and keep them on this machine."""
    step = "`source setup.bash`"
    findings = []
    profile = environment.get("FASTRTPS_DEFAULT_PROFILES_FILE", "")
    if not profile or not Path(profile).is_file():
        found = f"{profile} is no file" if profile else "FASTRTPS_DEFAULT_PROFILES_FILE is not set"
        findings.append(fail("DDS profile", f"{found}: half the images would be lost", step))
    else:
        findings.append(ok("DDS profile", profile))
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach in ("LOCALHOST", "OFF"):
        findings.append(ok("DDS discovery", reach))
    else:
        found = f"{reach or 'SUBNET, the default'}: everybody in the network can command the arm"
        findings.append(warn("DDS discovery", found, f"{step}, or set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"))
    return findings


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
