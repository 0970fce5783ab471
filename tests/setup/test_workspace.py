import shutil
from pathlib import Path

import pytest

from scripts.setup.layout import Layout
from scripts.setup.workspace import build_environment, package_name, provided_elsewhere, restore_links, workspace_inputs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The packages of this checkout, without what was built from them."""
    for part in ("src", "underlay"):
        shutil.copytree(ROOT / "ros2_ws" / part, tmp_path / "ros2_ws" / part, symlinks=True)
    for part in ("launch", "calibration"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return Layout(tmp_path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def contents(layout: Layout) -> list[str | bytes]:
    return [item.read_bytes() if isinstance(item, Path) else item for item in workspace_inputs(layout)]


@pytest.mark.parametrize(
    "path",
    [
        "ros2_ws/src/clar_interfaces/msg/RobotState.msg",
        "ros2_ws/src/clar_interfaces/msg/New.msg",
        "ros2_ws/src/clar/setup.py",
        "ros2_ws/src/clar/config/new.yaml",
        "ros2_ws/underlay/new_package/package.xml",
        "launch/new.launch.py",
        "calibration/cells/new/cell.yaml",
    ],
)
def test_what_is_compiled_or_copied_makes_a_new_build(layout: Layout, path: str) -> None:
    before = contents(layout)
    write(layout.root / path, "<package><name>new_package</name></package>")
    assert contents(layout) != before


@pytest.mark.parametrize("path", ["ros2_ws/src/clar/clar/node.py", "ros2_ws/src/clar/config/fastdds.xml"])
def test_what_is_linked_needs_no_new_build(layout: Layout, path: str) -> None:
    before = contents(layout)
    write(layout.root / path, "changed")
    assert contents(layout) == before


def test_stand_ins_are_built_only_where_the_real_package_is_missing(layout: Layout, tmp_path: Path) -> None:
    jazzy = tmp_path / "jazzy"
    write(jazzy / "setup.bash", "")
    write(jazzy / "share/ament_index/resource_index/packages/tf2_msgs", "")
    assert provided_elsewhere(Layout.detect(layout.root, jazzy=jazzy)) == ["tf2_msgs"]
    assert provided_elsewhere(layout) == []


def test_folders_of_the_workspace_are_named_after_their_packages() -> None:
    for part in ("src", "underlay"):
        for path in (ROOT / "ros2_ws" / part).glob("*/package.xml"):
            assert package_name(path.parent) == path.parent.name


def test_a_sourced_shell_does_not_leak_into_the_build(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/another/workspace")
    environment = build_environment(layout)
    assert "PYTHONPATH" not in environment
    assert environment["AMENT_PREFIX_PATH"] == str(layout.venv)


def test_links_that_a_checkout_left_as_text_files_are_made_again(tmp_path: Path) -> None:
    package = tmp_path / "ros2_ws" / "src" / "clar"
    (tmp_path / "launch").mkdir()
    write(package / "launch", "../../../launch")
    write(package / "setup.cfg", "[develop]")
    write(package / "nowhere", "../../../no_such_folder")
    assert restore_links(package) == [package / "launch"]
    assert (package / "launch").resolve() == tmp_path / "launch"
    assert not (package / "nowhere").is_symlink()
    assert (package / "setup.cfg").read_text() == "[develop]"
