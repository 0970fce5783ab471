"""``clar checkpoint``: description and copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from clar_core.cli.checkpoint import main
from clar_core.training.checkpoints import load_checkpoint, save_checkpoint
from tests.core.training.policies import tiny_checkpoint


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "policy", tiny_checkpoint())
    return tmp_path / "policy"


def test_a_checkpoint_is_described(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(directory)]) == 0
    said = capsys.readouterr().out
    for text in ("tcp_delta_pose_and_gripper at 10 Hz", "points in fr3_link0", "history 1, chunk 1"):
        assert text in said


@pytest.mark.parametrize("half", [False, True])
def test_a_copy_is_a_checkpoint_and_replaces_only_a_checkpoint(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], half: bool
) -> None:
    options = [str(directory), "--copy-to", str(tmp_path / "copy"), *(["--half"] if half else [])]
    assert main(options) == 0
    assert main(options) == 0
    assert load_checkpoint(tmp_path / "copy").provenance.keys() == load_checkpoint(directory).provenance.keys()
    other = tmp_path / "notes"
    other.mkdir()
    (other / "thesis.tex").touch()
    assert main([str(directory), "--copy-to", str(other)]) == 1
    assert "expected a new directory, or a checkpoint to replace" in capsys.readouterr().err
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_what_is_no_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "config.json: missing" in capsys.readouterr().err
