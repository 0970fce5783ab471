import sys
from pathlib import Path

import pytest

from scripts.setup import environment
from scripts.setup.cmake_exports import fix_exports
from scripts.setup.layout import Layout
from scripts.setup.runner import SetupError, run_steps

BUILDER = "/opt/python/cp312-cp312"
EXPORT = f'set(includes "{BUILDER}/include/python3.12;{BUILDER}/lib/python3.12/site-packages/numpy/_core/include")\n'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A checkout that wants one package, which no index has."""
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    layout = Layout(tmp_path)
    for path in layout.requirements:
        path.touch()
    layout.constraints.write_text("pip==1.0\nsetuptools==1.0\nwheel==1.0\ntorch==0.0.1\n")
    (tmp_path / "setup.py").touch()
    (tmp_path / "pyproject.toml").write_text("[build-system]\n[project]\n[tool.setuptools]\n")
    # A virtual environment that lends the interpreter of the tests: making a real one takes seconds.
    layout.python.parent.mkdir(parents=True)
    layout.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    layout.python.chmod(0o755)
    (layout.venv / "bin" / "activate").write_text(f'VIRTUAL_ENV="{layout.venv}"\n')
    (layout.venv / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    return layout


def test_without_network_the_error_names_the_package_and_the_next_step(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(SetupError, match=r"(?s)could not install pip.*check the network.*Then run make setup again"):
        run_steps(environment.environment_steps(layout), layout.state)
    # The environment itself is kept, so that the next attempt continues with the packages.
    assert (layout.state / "venv.stamp").is_file()
    assert not (layout.state / "torch.stamp").exists()


def test_a_lock_without_torch_is_refused(layout: Layout) -> None:
    layout.constraints.write_text("pip==1.0\n")
    with pytest.raises(SetupError, match=r"torch==<version>.*make lock"):
        environment.environment_steps(layout)


def test_packages_cut_off_in_the_middle_are_forgotten(tmp_path: Path) -> None:
    for name, complete in (("whole-1.0", True), ("half-2.0", False)):
        metadata = tmp_path / f"{name}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").touch()
        if complete:
            (metadata / "INSTALLER").write_text("pip\n")
    (tmp_path / "~alf").mkdir()
    assert environment.remove_incomplete(tmp_path) == ["half-2.0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole-1.0.dist-info"]


def test_cmake_exports_point_to_this_environment_and_stay_so(tmp_path: Path) -> None:
    export = tmp_path / "share" / "std_msgs" / "cmake" / "export.cmake"
    export.parent.mkdir(parents=True)
    export.write_text(EXPORT)
    other = export.with_name("other.cmake")
    other.write_text("set(nothing here)\n")

    assert fix_exports(tmp_path, "/usr/include/python3.12", "/venv/numpy/include") == 1
    assert export.read_text() == 'set(includes "/usr/include/python3.12;/venv/numpy/include")\n'
    assert fix_exports(tmp_path, "/usr/include/python3.12", "/venv/numpy/include") == 0


def test_an_environment_is_used_again_where_it_was_made(layout: Layout) -> None:
    assert environment.is_usable(layout)


def test_an_environment_of_a_moved_checkout_is_made_anew(layout: Layout) -> None:
    moved = Layout(layout.root.rename(layout.root.with_name("moved")))
    assert not environment.is_usable(moved)


def test_an_environment_of_another_interpreter_is_made_anew(layout: Layout) -> None:
    layout.python.write_text("#!/bin/sh\necho '(3, 9)'\n")
    assert not environment.is_usable(layout)


def test_an_environment_is_made_anew_when_a_ros_distribution_was_installed(layout: Layout) -> None:
    assert not environment.is_usable(Layout(layout.root, distribution=layout.root / "jazzy"))


def test_lint_settings_do_not_install_the_package_again(layout: Layout) -> None:
    before = environment._package_metadata(layout)
    with (layout.root / "pyproject.toml").open("a") as file:
        file.write("[tool.ruff]\nline-length = 120\n")
    assert environment._package_metadata(layout) == before
