"""No image can be built where these tests run: they hold the container files against what they name."""

import ast
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from clar_core.cli import main as cli

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IMAGE_ROOT = "/clar"


def command_of(service: str) -> list[str]:
    """The words of a service's command with the defaults of its variables."""
    return shlex.split(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[service]["command"]))


def declared_arguments(launch_file: Path) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(launch_file.read_text())) if isinstance(node, ast.Call)]
    declared = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument"]
    return {call.args[0].value for call in declared if isinstance(call.args[0], ast.Constant)}


def in_checkout(path: str) -> Path:
    return ROOT / Path(path).relative_to(IMAGE_ROOT)


def test_policy_record_and_train_are_services() -> None:
    assert set(SERVICES) == {"policy", "record", "train"}


@pytest.mark.parametrize("service", ["policy", "record"])
def test_services_launch_files_that_exist_with_arguments_they_declare(service: str) -> None:
    ros2, launch, package, file, *arguments = command_of(service)
    assert (ros2, launch, package) == ("ros2", "launch", "clar")
    assert (ROOT / "launch" / file).is_file()
    names = {argument.partition(":=")[0] for argument in arguments}
    assert names <= declared_arguments(ROOT / "launch" / file)


def test_training_runs_a_command_that_exists() -> None:
    program, *words = command_of("train")
    assert program == "clar"
    assert not isinstance(cli.find(words), int)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_services_share_network_memory_user_and_gpu(service: str) -> None:
    given = SERVICES[service]
    assert given["network_mode"] == "host"
    assert given["ipc"] == "host"
    assert given["user"] == "root"
    assert given["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize("service", ["policy", "record"])
def test_robot_services_may_run_in_real_time_and_see_usb(service: str) -> None:
    given = SERVICES[service]
    assert given["ulimits"]["rtprio"] == 99
    assert given["ulimits"]["memlock"] == -1
    assert "/dev/bus/usb:/dev/bus/usb" in given["volumes"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_services_name_files_that_exist(service: str) -> None:
    given = SERVICES[service]
    assert (ROOT / given["build"]["dockerfile"]).is_file()
    assert in_checkout(given["environment"]["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    ignored = (ROOT / ".gitignore").read_text().split()
    for volume in given["volumes"]:
        host, inside = volume.split(":")
        if host.startswith("."):
            assert in_checkout(inside) == ROOT / host
            assert (ROOT / host).is_dir() or f"/{Path(host).name}/" in ignored


def test_dockerfile_names_targets_and_files_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(
        r"\bmake ([a-z-]+)", "\n".join(re.findall(r"^RUN .*(?:\\\n.*)*", DOCKERFILE, re.MULTILINE))
    ):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    (entrypoint,) = re.findall(r'^ENTRYPOINT \["([^"]+)"\]', DOCKERFILE, re.MULTILINE)
    assert os.access(in_checkout(entrypoint), os.X_OK)


def test_dockerfile_starts_from_the_distribution_of_the_lock() -> None:
    assert re.findall(r"^FROM (.*)", DOCKERFILE, re.MULTILINE) == ["ros:jazzy"]
    assert (ROOT / "requirements" / "lock_jazzy.txt").is_file()
