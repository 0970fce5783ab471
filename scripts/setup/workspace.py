"""Build of the ROS 2 workspace, with stand-ins for the ROS packages that the machine lacks."""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from scripts.setup.layout import Layout
from scripts.setup.runner import Console, SetupError, Step

# Contents that a build copies or compiles. All else is linked, so only its presence matters.
_BUILT = {"package.xml", "CMakeLists.txt", "setup.py", "setup.cfg", ".msg", ".srv", ".action"}
_LONGEST_TARGET = 255
_CHECK = "import rclpy, tf2_ros, launch_ros, sensor_msgs_py, tf_transformations, clar, clar_core, clar_interfaces.msg"


def package_name(folder: Path) -> str:
    """Name of the ROS package in a folder, from its package.xml."""
    name = ElementTree.parse(folder / "package.xml").findtext("name")
    if not name:
        raise SetupError(f"expected a <name> in {folder / 'package.xml'}, found none")
    return name


def packages_in(folder: Path) -> list[Path]:
    """Folders of the ROS packages directly below a folder."""
    return sorted(path.parent for path in folder.glob("*/package.xml"))


def provided_elsewhere(layout: Layout) -> list[str]:
    """Stand-ins that are not needed, since the ROS distribution or the environment has the real package."""
    prefixes = [layout.venv] if layout.distribution is None else [layout.distribution, layout.venv]
    index = Path("share/ament_index/resource_index/packages")
    names = [package_name(folder) for folder in packages_in(layout.workspace / "underlay")]
    return [name for name in names if any((prefix / index / name).exists() for prefix in prefixes)]


def workspace_inputs(layout: Layout) -> list[str | Path]:
    """What decides the build: contents of what is compiled, names of what is linked, and what is skipped."""
    inputs: list[str | Path] = [str(layout.install), *provided_elsewhere(layout)]
    for folder in (layout.workspace / "src", layout.workspace / "underlay"):
        for package in packages_in(folder):
            for path in sorted({path for path in _files(package) if "__pycache__" not in path.parts}):
                inputs.append(str(path.relative_to(layout.root)))
                if path.name in _BUILT or path.suffix in _BUILT:
                    inputs.append(path)
    return inputs


def _files(package: Path) -> list[Path]:
    # Data folders (some are links to the top of the repository) are installed file by file; modules are found through
    # one link for each Python package.
    data = [folder for folder in package.iterdir() if folder.is_symlink() or folder.name in ("config", "resource")]
    linked = [path for folder in data for path in folder.resolve().rglob("*") if path.is_file()]
    built = [path for path in package.rglob("*") if path.name in _BUILT or path.suffix in _BUILT]
    return [*linked, *built, *package.glob("*/__init__.py")]


def restore_links(package: Path) -> list[Path]:
    """Make links again of the text files that a copy or a checkout without symbolic links left in their place.

    Such a file holds the link's target and nothing else. Returns what was restored.
    """
    restored = []
    for path in sorted(package.iterdir()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LONGEST_TARGET:
            continue
        target = path.read_bytes().decode(errors="replace").strip()
        if target.startswith("../") and (package / target).is_dir():
            path.unlink()
            path.symlink_to(target)
            restored.append(path)
    return restored


def workspace_step(layout: Layout) -> Step:
    """The step that builds underlay and workspace."""
    for package in packages_in(layout.workspace / "src"):
        restore_links(package)
    skipped = provided_elsewhere(layout)
    note = f" (from ROS 2 Jazzy: {' '.join(skipped)})" if skipped else ""
    return Step(
        name="workspace",
        title=f"ROS 2 workspace {layout.install.name}{note}",
        inputs=lambda: workspace_inputs(layout),
        action=lambda console, interrupted: _build(console, layout, interrupted),
        products=(layout.install / "local_setup.bash", layout.install / "lib" / "clar"),
    )


def _build(console: Console, layout: Layout, interrupted: bool) -> None:
    toolchain = layout.build / "toolchain"
    identity = _toolchain(layout)
    same = toolchain.is_file() and toolchain.read_text(encoding="utf-8") == identity
    if interrupted or not same:
        # Objects cut off in the middle, or of another interpreter, would be taken for good ones.
        for folder in (layout.build, layout.install):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (layout.build, layout.install):
        _drop_dangling_links(folder)
    layout.build.mkdir(parents=True, exist_ok=True)
    toolchain.write_text(identity, encoding="utf-8")

    skip = provided_elsewhere(layout)
    command = [str(layout.python), "-m", "colcon", "--log-base", str(layout.colcon_log), "build"]
    command += ["--merge-install", "--symlink-install", "--event-handlers", "console_direct+"]
    command += ["--build-base", str(layout.build), "--install-base", str(layout.install)]
    command += ["--base-paths", str(layout.workspace / "underlay"), str(layout.workspace / "src")]
    command += ["--packages-skip", *skip] if skip else []
    command += ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={layout.python}", "--no-warn-unused-cli"]
    if layout.distribution is not None:
        command = ["bash", "-c", f'. "{layout.distribution}/setup.bash" && exec "$@"', "bash", *command]
    if not console.run(command, env=build_environment(layout), cwd=layout.workspace):
        raise SetupError(
            f"colcon could not build the workspace:\n{console.tail(25)}\n"
            f"Whole log: {console.log}. Mend the cause, then run {layout.command} again; it continues with this step."
        )
    check = f'. "{layout.root}/setup.bash" && python -c "{_CHECK}"'
    lock = "" if layout.lock == "default" else layout.lock
    if not console.run(["bash", "-c", check], env={**build_environment(layout), "LOCK": lock}):
        raise SetupError(
            f"the workspace was built, but its packages cannot be imported:\n{console.tail()}\n"
            f"Remove {layout.install} and {layout.build}, then run {layout.command} again."
        )


def _drop_dangling_links(folder: Path) -> None:
    """Forget files that were renamed or removed since the last build, installed again as broken links otherwise."""
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.exists():
            path.unlink()


def _toolchain(layout: Layout) -> str:
    """What objects depend on that colcon does not notice: interpreter, NumPy headers, message generators."""
    pins = layout.constraints.read_text(encoding="utf-8").splitlines()
    generators = [pin for pin in pins if pin.startswith(("numpy==", "ros-rosidl", "ros-rclpy=="))]
    return "\n".join([str(layout.python), sys.version, str(layout.distribution), *generators])


def build_environment(layout: Layout) -> dict[str, str]:
    """The caller's environment without what another sourced workspace or environment left in it."""
    foreign = {
        "AMENT_PREFIX_PATH",
        "CMAKE_PREFIX_PATH",
        "COLCON_PREFIX_PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "LD_LIBRARY_PATH",
    }
    foreign |= {"_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment["PATH"] = f"{layout.venv / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    if layout.distribution is None:
        environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = str(layout.venv)
    return environment
