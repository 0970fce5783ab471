"""Demonstrations from the launch file to a store: expert, arm, camera, recorder, audit, conversion."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from clar_core.data.convert import ConvertConfig, convert
from clar_core.data.store import Store
from clar_core.simulation.env import CELL_SPEC

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(400)]


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ros2", "launch", "clar", "record.launch.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_an_episode_given_by_the_expert_becomes_training_data(
    ros_domain: int, tmp_path: Path, fci_address: str
) -> None:
    bags = tmp_path / "bags"
    result = launch(
        tmp_path, "hardware:=sim", "teleop:=scripted", "auto_arm:=true", "episodes:=1", "seed:=4100",
        f"robot_ip:={fci_address}", f"directory:={bags}", "operator:=test",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    results = convert(
        ConvertConfig(bags=(bags,), directory=tmp_path / "store", spec=CELL_SPEC, failures=False, workers=1)
    )
    assert not [r.error for r in results if r.error]
    store = Store(tmp_path / "store")
    (episode,) = store.episodes
    assert episode.success
    assert episode.info["operator"] == "test"
    assert episode.info["labels"] == "commanded"
    assert json.dumps(episode.info["sources"]).count("scripted") == 1
    assert len(episode) > 30
    actions, states = store.read("action"), store.read("state")
    assert set(np.unique(actions[:, 6] > 0.5)) == {False, True}
    # What the labels add up to is how far the hand went, but for the pushes that label nothing.
    went = states[-1, :3] - states[0, :3]
    assert np.linalg.norm(actions[:, :3].sum(axis=0) - went) < 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cell: required with hardware:=real"),
        (("auto_arm:=true",), "auto_arm: refused with hardware:=real"),
        (("teleop:=scripted",), "the expert sees the simulated cell only"),
        (("hardware:=sim", "teleop:=scripted", "episodes:=many"), "episodes: expected a whole number"),
        (("teleop:=mouse",), "teleop"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = launch(tmp_path, *arguments)
    printed = result.stdout + result.stderr
    assert result.returncode != 0, printed
    assert message in printed
    assert "process started" not in printed
