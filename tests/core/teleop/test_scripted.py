"""The expert in the place of an operator."""

import numpy as np
import pytest

from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.perturbation import Perturbation
from clar_core.teleop.scripted import ScriptConfig, ScriptedOperator

TASK = "place_cube_in_basin"


@pytest.fixture(scope="module")
def env():
    env = CellEnv(EnvConfig(task=TASK, render_depth=False))
    yield env
    env.close()


def test_the_expert_wanders_to_its_start_and_then_does_the_task(env):
    operator = ScriptedOperator(TASK, ScriptConfig())
    env.reset(seed=5)
    operator.begin(5)
    for _ in range(60):
        decision = operator.wander(operator.view(env.data.qpos))
        if decision is None:
            break
        assert not decision.observed
        env.step(decision.action.to_array())
    assert decision is None
    success, pushed = False, 0
    for _ in range(140):
        decision = operator.act(operator.view(env.data.qpos))
        pushed += not decision.observed
        *_, success, truncated, _ = env.step(decision.action.to_array())
        if success or truncated:
            break
    assert success
    assert pushed
    assert pushed % ScriptConfig().perturb.ticks == 0


def test_a_seed_gives_the_same_start_and_another_seed_another(env):
    env.reset(seed=5)
    steps = []
    for seed in (1, 1, 2):
        operator = ScriptedOperator(TASK, ScriptConfig())
        operator.begin(seed)
        steps.append(operator.wander(operator.view(env.data.qpos)).action.to_array())
    assert np.array_equal(steps[0], steps[1])
    assert not np.array_equal(steps[0], steps[2])


def test_the_state_of_another_scene_is_refused():
    with pytest.raises(ValueError, match="is another task in the cell"):
        ScriptedOperator(TASK, ScriptConfig()).view(np.zeros(3))


def test_after_a_miss_the_expert_opens_the_empty_hand_and_does_the_task(env):
    operator = ScriptedOperator(TASK, ScriptConfig(perturb=Perturbation(rate=0.0, miss_rate=0.05)))
    env.reset(seed=6)
    operator.begin(6)
    missed, opened, success = 0, 0, False
    for _ in range(200):
        view = operator.view(env.data.qpos)
        decision = operator.act(view)
        missed += not decision.observed
        opened += decision.observed and decision.action.gripper == 1.0 and view.gripper_width_m < 0.02
        *_, success, truncated, _ = env.step(decision.action.to_array())
        if success or truncated:
            break
    assert success
    assert missed >= 14
    assert opened
