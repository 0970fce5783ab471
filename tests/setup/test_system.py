import shutil
from pathlib import Path

import pytest

from scripts.setup import system
from scripts.setup.layout import Layout
from scripts.setup.runner import Console, SetupError

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not a Debian machine")


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console("system packages", tmp_path / "log", mark="test")


def test_installed_packages_are_not_missing() -> None:
    assert system.missing_packages(["dpkg", "no-such-package"]) == ["no-such-package"]


def test_a_package_that_another_one_provides_is_not_missing() -> None:
    assert system.missing_packages(["awk"]) == []  # mawk or gawk, one of which is essential


def test_without_root_the_exact_line_is_printed(console: Console) -> None:
    expected = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends no-such-package"
    with pytest.raises(SetupError) as error:
        system.install_packages(console, ["dpkg", "no-such-package"], command="make setup", rights=lambda: None)
    assert expected in str(error.value).splitlines()[1]


def test_nothing_is_asked_for_when_all_is_there(console: Console) -> None:
    system.install_packages(console, ["dpkg"], command="make setup", rights=lambda: None)


def test_a_machine_without_apt_learns_what_to_install(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match=r"(?s)libusb-1.0-0.*SYSTEM_PACKAGES=skip"):
        system.install_packages(console, list(system.PACKAGES), command="make setup")


def test_a_ros_machine_gets_the_distribution_s_packages(tmp_path: Path) -> None:
    (tmp_path / "setup.bash").touch()
    layout = Layout.detect(tmp_path, jazzy=tmp_path)
    assert "ros-jazzy-tf-transformations" in system.required_packages(layout)
    assert "ros-jazzy-tf-transformations" not in system.required_packages(Layout(tmp_path))
