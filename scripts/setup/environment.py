"""The virtual environment and the pinned packages in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.setup.layout import Layout
from scripts.setup.runner import Console, SetupError, Step

_UNREACHABLE = re.compile(
    r"NewConnectionError|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|ConnectTimeout|ReadTimeout|Max retries exceeded|No matching distribution found"
)
_BOOTSTRAP = ("pip", "setuptools", "wheel")


def environment_steps(layout: Layout) -> list[Step]:
    """The steps that make the virtual environment, fill it and repair the CMake exports in it."""
    own = Path(__file__).with_name("cmake_exports.py")
    steps = [
        Step(
            "venv",
            f"virtual environment {layout.venv.name} (Python {sys.version_info.major}.{sys.version_info.minor})",
            lambda: [str(layout.venv), sys.version.split(".")[1], str(layout.distribution)],
            lambda console, interrupted: _make_venv(console, layout, interrupted),
            (layout.python,),
        ),
        Step(
            "torch",
            f"{_pin(layout, 'torch')} (the largest download)",
            lambda: [_pin(layout, name) for name in (*_BOOTSTRAP, "torch")],
            lambda console, _: _install_torch(console, layout),
        ),
        Step(
            "packages",
            f"pinned packages ({layout.constraints.name})",
            lambda: [layout.constraints, *layout.requirements],
            lambda console, _: _install_packages(console, layout),
        ),
        Step(
            "clar_core",
            "clar_core and the command `clar`, editable",
            lambda: [_package_metadata(layout), layout.root / "setup.py"],
            lambda console, _: _pip(
                console, layout, ["--no-deps", "--no-build-isolation", "--editable", str(layout.root)], "clar_core"
            ),
            (layout.venv / "bin" / "clar",),
        ),
    ]
    if layout.distribution is None:
        steps.append(
            Step(
                "cmake_exports",
                "CMake exports of the ROS 2 wheels",
                lambda: [own],
                lambda console, _: _fix_cmake_exports(console, layout, own),
            )
        )
    return steps


def remove_incomplete(site_packages: Path) -> list[str]:
    """Forget packages whose installation was cut off, so that pip installs them again; returns their names.

    pip writes INSTALLER when all files of a package are in place, and moves files that it replaces to names with a `~`.
    """
    removed = []
    for metadata in sorted(site_packages.glob("*.dist-info")):
        if not (metadata / "INSTALLER").is_file():
            shutil.rmtree(metadata)
            removed.append(metadata.name.removesuffix(".dist-info"))
    for leftover in site_packages.glob("~*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
    return removed


def is_usable(layout: Layout) -> bool:
    """Whether the virtual environment is of this interpreter, has pip, sees the system's packages where it must, and
    was made where it stands.
    """
    activate, configuration = layout.venv / "bin" / "activate", layout.venv / "pyvenv.cfg"
    if not (layout.python.exists() and activate.is_file() and configuration.is_file()):
        return False
    if str(layout.venv) not in activate.read_text(encoding="utf-8"):
        return False
    sees_system = "include-system-site-packages = true" in configuration.read_text(encoding="utf-8")
    if sees_system != (layout.distribution is not None):
        return False
    probe = "import pip, sys; print(sys.version_info[:2])"
    found = subprocess.run([str(layout.python), "-c", probe], capture_output=True, text=True, check=False)
    return found.stdout.strip() == str(sys.version_info[:2])


def _make_venv(console: Console, layout: Layout, interrupted: bool) -> None:
    if is_usable(layout) and not interrupted:
        return
    options = ["--system-site-packages"] if layout.distribution is not None else []
    if not console.run([sys.executable, "-m", "venv", "--clear", *options, str(layout.venv)]):
        raise SetupError(
            f"{sys.executable} could not make a virtual environment in {layout.venv}:\n{console.tail()}\n"
            f"Try another interpreter: {layout.command} PYTHON=/usr/bin/python3"
        )


def _install_torch(console: Console, layout: Layout) -> None:
    # First and alone: a resolver that meets torch among others may step through newer builds of several GB.
    _pip(console, layout, [_pin(layout, name) for name in _BOOTSTRAP], "pip")
    _pip(console, layout, [_pin(layout, "torch")], "torch")


def _install_packages(console: Console, layout: Layout) -> None:
    files = [part for file in layout.requirements for part in ("--requirement", str(file))]
    _pip(console, layout, ["--constraint", str(layout.constraints), *files], "pinned packages")
    if not console.run([str(layout.python), "-m", "pip", "check"]):
        raise SetupError(
            f"the installed packages contradict each other:\n{console.tail()}\n"
            f"Remove {layout.venv} and run {layout.command} again; if it stays, {layout.constraints.name} is at fault."
        )


def _pip(console: Console, layout: Layout, arguments: list[str], what: str) -> None:
    for site_packages in (layout.venv / "lib").glob("python3*/site-packages"):
        for name in remove_incomplete(site_packages):
            print(f"      {name} was cut off while it was installed: again", flush=True)
    command = [str(layout.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *arguments]
    if console.run(command):
        return
    unreachable = _UNREACHABLE.search(console.log.read_text(encoding="utf-8"))
    cause = (
        "The package index did not answer or lacks a version: check the network, the proxy and pip's configuration"
        if unreachable
        else "pip says why above"
    )
    raise SetupError(
        f"pip could not install {what}:\n{console.tail()}\n"
        f"{cause}. Then run {layout.command} again; it continues with this step. Whole log: {console.log}"
    )


def _package_metadata(layout: Layout) -> str:
    """The part of pyproject.toml that an installation depends on; the settings of ruff, mypy and pytest are not."""
    with (layout.root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    return json.dumps([project["build-system"], project["project"], project["tool"]["setuptools"]], sort_keys=True)


def _fix_cmake_exports(console: Console, layout: Layout, script: Path) -> None:
    if not console.run([str(layout.python), str(script)]):
        raise SetupError(f"the CMake exports in {layout.venv} could not be changed:\n{console.tail()}")


def _pin(layout: Layout, package: str) -> str:
    """`package==version` of a package as the lock file has it. Raises SetupError when it has none."""
    for line in layout.constraints.read_text(encoding="utf-8").splitlines():
        if line.partition("==")[0] == package:
            return line.strip()
    raise SetupError(f"expected a line {package}==<version> in {layout.constraints}; write the lock again: make lock")
