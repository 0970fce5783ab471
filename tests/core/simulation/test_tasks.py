"""Tasks: starts, experts, predicates, names."""

from __future__ import annotations

import numpy as np
import pytest

from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.tasks import TASKS, UnknownTaskError, get_task


@pytest.fixture(params=sorted(TASKS))
def env(request: pytest.FixtureRequest) -> CellEnv:
    return CellEnv(EnvConfig(task=request.param, render_depth=False))


def run_expert(env: CellEnv, seed: int) -> tuple[bool, list[np.ndarray], list[np.ndarray]]:
    env.reset(seed=seed)
    states, actions = [], []
    while True:
        size = np.zeros(env.model.nq + env.model.nv)
        size[: env.model.nq], size[env.model.nq :] = env.data.qpos, env.data.qvel
        states.append(size)
        actions.append(env.expert().to_array())
        _, _, terminated, truncated, info = env.step(actions[-1])
        assert type(info["success"]) is bool, "ROS messages take no numpy.bool"
        if terminated or truncated:
            return terminated, states, actions


def test_expert_succeeds_within_the_time_limit(env: CellEnv) -> None:
    outcomes = [run_expert(env, seed)[0] for seed in range(6)]
    assert all(outcomes), outcomes


def test_expert_is_a_function_of_the_present_state(env: CellEnv) -> None:
    import mujoco

    _, states, actions = run_expert(env, 1)
    for index in np.random.default_rng(0).permutation(len(states)):
        env.data.qpos[:], env.data.qvel[:] = states[index][: env.model.nq], states[index][env.model.nq :]
        mujoco.mj_kinematics(env.model, env.data)
        np.testing.assert_allclose(env.expert().to_array(), actions[index], atol=1e-9)


def test_the_start_depends_on_the_seed_alone(env: CellEnv) -> None:
    env.reset(seed=5)
    first = env.data.qpos.copy()
    run_expert(env, 6)
    env.reset(seed=5)
    np.testing.assert_array_equal(env.data.qpos, first)
    env.reset(seed=7)
    assert np.abs(env.data.qpos - first).max() > 0.01


def test_doing_nothing_does_not_succeed(env: CellEnv) -> None:
    env.reset(seed=0)
    for _ in range(10):
        _, reward, terminated, _, info = env.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
        assert not terminated
        assert reward == 0.0
        assert not info["success"]


def test_objects_stay_where_they_were_put(env: CellEnv) -> None:
    env.reset(seed=3)
    objects = np.setdiff1d(np.arange(env.model.nq), np.r_[env.robot.indices.arm_qpos, env.robot.indices.finger_qpos])
    before = env.data.qpos[objects].copy()
    for _ in range(10):
        env.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    np.testing.assert_allclose(env.data.qpos[objects], before, atol=2e-3)


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownTaskError, match="did you mean open_drawer"):
        get_task("open_draw")


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_has_several_sentences(name: str) -> None:
    task = get_task(name)
    assert len(set(task.instructions)) >= 3
    assert task.unseen_instructions
    assert not set(task.unseen_instructions) & set(task.instructions)


def test_no_two_tasks_share_a_sentence() -> None:
    sentences = [s for task in TASKS.values() for s in (*task.instructions, *task.unseen_instructions)]
    assert len(sentences) == len(set(sentences))


def test_the_objects_of_a_task_are_bodies_of_its_scene(env: CellEnv) -> None:
    for seed in (0, 1):
        env.reset(seed=seed)
        for name in env.task.objects:
            assert 0.2 < env.view.body_pose(name)[0, 3] < 0.9
