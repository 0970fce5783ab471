"""`clar` finds subcommands, names the nearest to a wrong one, and imports nothing that it does not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clar_core.cli import main as cli

ROOT = Path(__file__).resolve().parents[3]
ALL = [command for group in cli.GROUPS.values() for command in group]


def run(
    *words: str, code: str = "import sys; from clar_core.cli.main import main; sys.exit(main())"
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, timeout=120
    )


def test_help_lists_every_command_and_imports_no_heavy_package() -> None:
    code = (
        "import sys; from clar_core.cli.main import main; status = main(['--help']); "
        "heavy = {'numpy', 'torch', 'mujoco', 'rclpy', 'tyro', 'scipy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    result = run(code=code)
    assert result.returncode == 0, result.stderr
    for command in ALL:
        assert f"clar {command.name}  " in result.stdout


def test_no_command_at_all_shows_the_help() -> None:
    result = run()
    assert result.returncode == 0
    assert result.stdout.startswith("usage: clar")


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("stopp", "clar stop"),
        ("tran", "clar train"),
        ("eval cel", "clar eval cell"),
        ("data colect", "clar data collect"),
    ],
)
def test_a_wrong_command_is_answered_with_the_nearest_one(
    given: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(given.split()) == 2
    assert f"did you mean `{nearest}`" in capsys.readouterr().err


def test_a_family_of_commands_lists_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "--help"]) == 0
    assert "clar eval cell" in capsys.readouterr().out
    assert cli.main(["eval"]) == 2


def test_ros_commands_name_the_remedy_where_the_workspace_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'rclpy'", name="rclpy")

    monkeypatch.setattr(cli.importlib, "import_module", missing)
    assert cli.main(["stop"]) == 1
    assert "source setup.bash" in capsys.readouterr().err


def test_a_broken_import_inside_a_command_is_not_mistaken_for_a_missing_workspace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = cli.Command(("broken",), "", "clar_core.no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        cli.run(broken, ["broken"])


def test_commands_that_share_a_module_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    module = type(sys)("shared")
    module.main = lambda arguments: calls.append(arguments) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "clar.operate", module)
    monkeypatch.setitem(sys.modules, "clar", type(sys)("clar"))
    assert cli.main(["start", "--owner", "policy"]) == 0
    assert calls == [["start", "--owner", "policy"]]


def test_words_are_unique() -> None:
    names = [command.name for command in ALL]
    assert len(names) == len(set(names))
