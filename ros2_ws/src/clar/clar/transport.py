"""Which processes talk over shared memory, and which must not: those that nobody may hold up.

Fast DDS keeps a reader's queue in shared memory behind a lock that the reader and all its writers take. A process that
is frozen while it holds that lock (SIGSTOP, a debugger, Ctrl-Z on ``ros2 topic echo``) holds up whoever writes to it, a
second for every message (``BOOST_INTERPROCESS_TIMEOUT_WHEN_LOCKING_DURATION_MS`` in Fast DDS's boostconfig.hpp).
Sending by UDP never waits for who listens. `make bench B=frozen_listener` measures both.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import MutableMapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_REACH, _REACH_BEFORE_IRON = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
_FARTHER = ("SUBNET", "SYSTEM_DEFAULT", "OFF")
SHIPPED, UDP, UDP_LOOPBACK = "fastdds.xml", "fastdds_udp.xml", "fastdds_udp_loopback.xml"


def keep_off_shared_memory(environment: MutableMapping[str, str] = os.environ, folder: Path | None = None) -> str:
    """Have this process talk by UDP alone, within the reach that its environment asks for; before ``rclpy.init``.

    With the reach LOCALHOST, rmw_fastrtps adds shared memory to whatever a profile says. A profile that knows the
    loopback interface only then takes its place, and the reach is left to that (SYSTEM_DEFAULT).

    Args:
        environment: changed in place, or not at all.
        folder: of the profiles; that of the installed package when left out.

    Returns:
        Why the environment was left as it is; empty when this process will stay off shared memory.
    """
    folder = folder or Path(get_package_share_directory("clar")) / "config"
    rmw = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if rmw != "rmw_fastrtps_cpp":
        return f"RMW_IMPLEMENTATION is {rmw}"
    profile = environment.get(_PROFILE, "")
    if profile and not any(_same(Path(profile), folder / name) for name in (SHIPPED, UDP, UDP_LOOPBACK)):
        return f"{_PROFILE} is {profile}, not CLAR's"
    reach = environment.get(_REACH) or "SUBNET"
    if environment.get(_REACH_BEFORE_IRON) == "1":
        reach = "LOCALHOST"
    within_machine = reach not in _FARTHER  # rcl takes what it does not know for LOCALHOST
    inherited = reach == "SYSTEM_DEFAULT" and bool(profile) and _same(Path(profile), folder / UDP_LOOPBACK)
    for name in ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER") if within_machine else ():
        if value := environment.get(name):
            return f"{name} is {value}, which the loopback interface alone does not reach"
    wanted = folder / (UDP_LOOPBACK if within_machine or inherited else UDP)
    if not wanted.is_file():
        # Fast DDS would go on with its own transports, those of every interface included.
        return f"{wanted} is no file: run make setup"
    environment[_PROFILE] = str(wanted)
    if within_machine:
        environment.pop(_REACH_BEFORE_IRON, None)
        environment[_REACH] = "SYSTEM_DEFAULT"
    return ""


def _same(profile: Path, shipped: Path) -> bool:
    """Whether a profile is that of this package, wherever it was installed."""
    return profile.is_file() and shipped.is_file() and filecmp.cmp(profile, shipped, shallow=False)
