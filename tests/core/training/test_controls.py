"""The controls of a run: trained on its data, found by the evaluation, and the oracle really drives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.store import StoreWriter
from clar_core.evaluation.contenders import CONTROLS, controls_of
from clar_core.evaluation.trials import run_trial
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.perturbation import Perturbation
from clar_core.training.config import ImitationConfig
from clar_core.training.controls import train_controls
from clar_core.training.imitation import train_imitation
from clar_core.training.loop import TrainingError
from clar_core.training.oracle import OracleActor, Steps, train_oracle, varied
from tests.core.data.demonstrations import POINTS, SPEC, episode, write_store

NONE = Perturbation(rate=0.0)


def test_a_run_gets_its_controls_and_they_drive(tmp_path: Path) -> None:
    run = ImitationConfig(
        stores=(write_scripted(tmp_path / "s", range(3)),),
        output=tmp_path / "run",
        encoder="pointnet",
        samples=64,
        device="cpu",
        validation_fraction=0.4,
        cached_views=1,
    )
    train_imitation(replace(run, output=tmp_path / "start"))
    train_imitation(replace(run, init_from=tmp_path / "start/last", encoder_training="finetune"))
    made = train_controls(run.output, perturb=NONE)
    assert list(made) == list(CONTROLS)
    assert sorted(controls_of(str(run.output))) == sorted(CONTROLS)
    written = (made["oracle_state"] / "oracle.json").stat().st_mtime_ns
    train_controls(run.output, perturb=NONE)
    assert (made["oracle_state"] / "oracle.json").stat().st_mtime_ns == written, "what is there is kept"
    env = CellEnv(EnvConfig(task="pick_banana", render_depth=False))
    trial = run_trial(env, OracleActor(env, made["oracle_state"]), 1_000_000)
    assert trial.steps > 0
    other = CellEnv(EnvConfig(task="open_drawer", render_depth=False))
    with pytest.raises(TrainingError, match="knows pick_banana, not open_drawer"):
        OracleActor(other, made["oracle_state"])
    with pytest.raises(ValueError, match="expected of blind, frozen_random, oracle_state, got 'deaf'"):
        train_controls(run.output, controls=("deaf",))


def test_the_oracle_learns_what_the_data_hold(tmp_path: Path) -> None:
    run = ImitationConfig(
        stores=(write_scripted(tmp_path / "s", range(10_000, 10_010)),),
        output=tmp_path / "run",
        samples=15_000,
        batch_size=128,
        ema_decay=0.99,
        augmentation=AugmentationConfig(reach_max_m=(0.75, 0.36, 0.50)),
    )
    directory = train_oracle(run, tmp_path / "oracle", perturb=Perturbation())
    env = CellEnv(EnvConfig(task="pick_banana", render_depth=False))
    actor = OracleActor(env, directory)
    successes = sum(run_trial(env, actor, 1_000_000 + i).success for i in range(10))
    assert successes >= 3, successes


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_oracle_sees_hands_beside_their_way_where_the_policy_does(share: float) -> None:
    """A view moves object and hand together; only a shifted hand is elsewhere as the object sees it."""
    ticks, reach = 12, AugmentationConfig(reach_max_m=(0.75, 0.36, 0.50))
    states = np.tile(np.float32([0.5, 0.0, 0.3, 1, 0, 0, 0, -1, 0, 1]), (ticks, 1))
    states[:, 2] -= 0.01 * np.arange(ticks, dtype=np.float32)
    actions = np.tile(np.float32([0, 0, -0.01, 0, 0, 0, 1]), (ticks, 1))
    objects = np.tile(np.float32([0.5, 0.0, 0.02, 1, 0, 0, 0, 1, 0]), (ticks, 1))
    seen = varied([Steps(objects, states, actions)], SPEC, replace(reach, hand_share=share), seed=0)
    aside_m = np.linalg.norm(seen.states[:, :2] - seen.objects[:, :2], axis=1)
    if share == 0.0:
        assert aside_m.max() < 1e-4
    else:
        moved = aside_m > 0.005
        assert moved.mean() > 0.3
        way_back = np.sum(seen.actions[:, :2] * (seen.objects[:, :2] - seen.states[:, :2]), axis=1)
        assert (way_back[moved] > 0).all()


def test_demonstrations_from_elsewhere_have_no_oracle(tmp_path: Path) -> None:
    run = ImitationConfig(stores=(write_store(tmp_path / "s"),), output=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"task 'reach' .* holds no scripted demonstration of the simulated cell"):
        train_oracle(run, tmp_path / "oracle", perturb=NONE)


def write_scripted(directory: Path, seeds: range) -> Path:
    """A store that says of which starts its episodes are; the oracle drives those again."""
    writer = StoreWriter(directory, SPEC, points_per_cloud=POINTS)
    for seed in seeds:
        made = episode(seed, task="pick_banana")
        writer.append(replace(made, info={"seed": seed, "source": "scripted"}))
    return directory


def test_the_objects_state_is_made_of_true_poses() -> None:
    env = CellEnv(EnvConfig(task="put_bread", render_depth=False))
    env.reset(seed=4)
    state = env.view.object_state(env.task.objects)
    assert state.shape == (18,)
    np.testing.assert_array_equal(state[:3], env.view.body_pose("loaf")[:3, 3])
    np.testing.assert_array_equal(state[12:15], env.view.body_pose("plate")[:3, 0])
