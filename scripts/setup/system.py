"""System packages: looked for, installed where we may, asked for where we may not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from scripts.setup.layout import Layout
from scripts.setup.runner import Console, SetupError, Step

# Package -> why. Names are those of Debian 12 and of Ubuntu 24.04.
PACKAGES = {
    "g++": "compiles the message packages",
    "cmake": "builds the message packages",
    "make": "builds the message packages",
    "libusb-1.0-0": "pyrealsense2 does not import without it",
    "libosmesa6": "MuJoCo renders off screen with it",
    "libtcmalloc-minimal4": "faster training on the CPU",
}
JAZZY_PACKAGES = (
    "ament-cmake",
    "diagnostic-msgs",
    "launch-ros",
    "rclpy",
    "rmw-fastrtps-cpp",
    "ros2launch",
    "ros2run",
    "rosidl-default-generators",
    "sensor-msgs-py",
    "std-srvs",
    "tf-transformations",
    "tf2-ros-py",
    "visualization-msgs",
)


def required_packages(layout: Layout) -> list[str]:
    """Names of the Debian packages that this set-up needs, those of the running interpreter included."""
    names = list(PACKAGES)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("ensurepip") is None:
        names.append(f"{version}-venv")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        names.append(f"{version}-dev")
    if layout.distribution is not None:
        names += [f"ros-jazzy-{name}" for name in JAZZY_PACKAGES]
    return names


def missing_packages(names: list[str]) -> list[str]:
    """Those of the packages that dpkg does not have installed, under their own name or as provided by another."""
    listing = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}, ${Provides}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed: set[str] = set()
    for line in listing.stdout.splitlines():
        status, _, provided = line.partition(" ")
        if status == "installed":
            installed.update(name.split("(")[0].strip() for name in provided.split(","))
    return [name for name in names if name not in installed]


def apt_command(names: list[str]) -> list[str]:
    """The command that installs packages, without the right to run it."""
    return ["apt-get", "install", "--yes", "--no-install-recommends", *names]


def privilege() -> list[str] | None:
    """What to put before a command that needs root: nothing as root, sudo where it asks no password, else None."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def install_packages(
    console: Console,
    names: list[str],
    *,
    command: str,
    rights: Callable[[], list[str] | None] = privilege,
) -> None:
    """Install what is missing. Raises SetupError with the exact line to type where that is not possible."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise SetupError(
            "expected a Debian or Ubuntu machine, found no apt-get. Install the equivalents of\n"
            f"    {' '.join(names)}\n"
            f"by hand, then run: {command} SYSTEM_PACKAGES=skip"
        )
    missing = missing_packages(names)
    if not missing:
        return
    line = " ".join(["sudo", *apt_command(missing)])
    prefix = rights()
    if prefix is None:
        raise SetupError(
            f"system packages are missing and installing them needs root. Type this line, then {command} again:\n"
            f"    sudo apt-get update && {line}"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    # Lists that cannot be refreshed (no network, a broken third-party source) may still know the packages.
    console.run([*prefix, "apt-get", *wait, "update"], env=environment)
    if not console.run([*prefix, *apt_command(missing), *wait], env=environment):
        raise SetupError(
            f"apt-get could not install {' '.join(missing)}:\n{console.tail()}\n"
            f"Check the network and the machine's package sources, then run {command} again; it continues here.\n"
            f"The same by hand: {line}"
        )


def system_step(layout: Layout) -> Step:
    """The step that looks for system packages."""
    names = required_packages(layout)
    return Step(
        name="system",
        title=f"system packages: {' '.join(names)}",
        inputs=lambda: names,
        action=lambda console, _: install_packages(console, names, command=layout.command),
    )
