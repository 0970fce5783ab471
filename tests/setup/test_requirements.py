import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
USES = ("core", "ros", "ros_wheels", "sim", "hardware", "train", "viz", "dev")
# NumPy 1.26 pulls older ones of these with it: its own users in C, and what their wheels need.
DIFFERS = {"numpy", "opencv-python-headless", "pin", "rerun-sdk", "zarr"}


def lines_of(name: str) -> list[str]:
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def package_of(line: str) -> str:
    (name,) = re.findall(r"^[A-Za-z0-9_.-]+", line)
    return str(name).lower().replace("_", "-")


def lock(name: str) -> dict[str, str]:
    return {package_of(line): line.partition("==")[2] for line in lines_of(f"lock_{name}")}


@pytest.mark.parametrize("use", USES)
def test_every_requirement_says_why_it_is_there(use: str) -> None:
    for line in lines_of(use):
        assert re.search(r"\S\s+# \S", line), line


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["default", "jazzy"])
def test_locks_hold_every_requirement(use: str, name: str) -> None:
    pins = lock(name)
    for line in lines_of(use):
        requirement = line.partition("#")[0].strip()
        version = pins[package_of(line)]
        exact = re.search(r"==([^\s,]+)", requirement)
        assert exact is None or exact[1] == version, f"{requirement} against {version} in lock_{name}.txt"


def test_requirements_are_exact_unless_the_locks_differ() -> None:
    loose = {package_of(line) for use in USES for line in lines_of(use) if "==" not in line.partition("#")[0]}
    default, jazzy = lock("default"), lock("jazzy")
    assert loose == {package for package in loose if default[package] != jazzy[package]}
    direct = {package_of(line) for use in USES for line in lines_of(use)}
    assert {package for package in direct if default[package] != jazzy[package]} <= DIFFERS


def test_one_lock_has_numpy_2_and_the_other_the_numpy_of_the_robot() -> None:
    assert lock("default")["numpy"].startswith("2.4")
    assert lock("jazzy")["numpy"].startswith("1.26")


def test_torch_is_pinned_and_needs_no_cuda_build() -> None:
    for name in ("default", "jazzy"):
        assert lock(name)["torch"] == "2.13.0"
        assert not [package for package in lock(name) if package.startswith("nvidia")]
