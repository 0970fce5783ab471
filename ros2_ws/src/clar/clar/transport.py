"""Which processes talk over shared memory, and which must not: those that nobody may hold up.

Fast DDS keeps a reader's queue in shared memory behind a lock that the reader and all its writers take. A process that
is frozen while it holds that lock (SIGSTOP, a debugger, Ctrl-Z on ``ros2 topic echo``) holds up whoever writes to it, a
second for every message (``BOOST_INTERPROCESS_TIMEOUT_WHEN_LOCKING_DURATION_MS`` in Fast DDS's boostconfig.hpp).
Sending by UDP never waits for who listens. `make bench B=frozen_listener` measures both.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_REACH, _REACH_BEFORE_IRON = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
SHIPPED, UDP, UDP_LOOPBACK = "fastdds.xml", "fastdds_udp.xml", "fastdds_udp_loopback.xml"


def keep_off_shared_memory(environment: MutableMapping[str, str] = os.environ, folder: Path | None = None) -> str:
    """Have this process talk by UDP alone, within the reach that its environment asks for; before ``rclpy.init``.

    With the reach LOCALHOST, rmw_fastrtps adds shared memory to whatever a profile says. A profile that knows the
    loopback interface only then takes its place, and the reach is left to that (SYSTEM_DEFAULT).

    Args:
        environment: changed in place.
        folder: of the profiles; that of the installed package when left out.

    Returns:
        Why the environment was left as it is; empty when this process will stay off shared memory.
    """
    folder = folder or Path(get_package_share_directory("clar")) / "config"
    if (rmw := environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")) != "rmw_fastrtps_cpp":
        return f"RMW_IMPLEMENTATION is {rmw}"
    profile = environment.get(_PROFILE) or environment.get("FASTDDS_DEFAULT_PROFILES_FILE", "")
    if profile and Path(profile).name not in (SHIPPED, UDP, UDP_LOOPBACK):
        return f"{_PROFILE} is {profile}, not CLAR's"
    reach = environment.get(_REACH, "SUBNET")
    if environment.get(_REACH_BEFORE_IRON, "") == "1":
        reach = "LOCALHOST"
    if reach == "LOCALHOST":
        if peers := environment.get("ROS_STATIC_PEERS", ""):
            return f"ROS_STATIC_PEERS ({peers}) go with {_REACH}=LOCALHOST, which brings shared memory"
        environment.pop(_REACH_BEFORE_IRON, None)
        environment[_REACH] = "SYSTEM_DEFAULT"
        environment[_PROFILE] = str(folder / UDP_LOOPBACK)
    elif not (reach == "SYSTEM_DEFAULT" and Path(profile).name == UDP_LOOPBACK):  # a child of such a process
        environment[_PROFILE] = str(folder / UDP)
    return ""
