"""The diffusion head: its schedule and network, learning by heart, and sampling that depends on its noise alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clar_core.models.baselines.dp3 import DP3Config
from clar_core.models.diffusion import Diffusion, cumulative_signal
from clar_core.models.diffusion_policy import DiffusionHeadConfig, DiffusionPolicy
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.models.unet1d import ConditionalUnet1d
from clar_core.runtime import PolicyRuntime
from clar_core.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from clar_core.training.normalizer import Normalizer
from tests.core.data.demonstrations import SPEC, episode

SMALL = DiffusionHeadConfig(width=16, channels=(32, 64), step_dim=16, groups=4, chunk=4, history=2, execute=3)
CONFIG = PolicyConfig(encoder=DP3Config(widths=(16, 32), feature_dim=16), head=SMALL)


def small_policy(config: PolicyConfig = CONFIG) -> DiffusionPolicy:
    torch.manual_seed(0)
    policy = build_policy(config)
    assert isinstance(policy, DiffusionPolicy)
    return policy


def inputs(batch: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(batch, 2, 64, 3, generator=generator) * 2 - 1
    state = torch.randn(batch, 2, 10, generator=generator)
    action = torch.randn(batch, 4, 7, generator=generator)
    action[..., 6] = (action[..., 6] > 0).float()
    return points, state, action


def test_noising_takes_the_signal_away_and_keeps_the_variance() -> None:
    signal = cumulative_signal(100)
    assert signal[0] > 0.999
    assert signal[-1] < 1e-4
    assert (signal.diff() < 0).all()
    # Nichol and Dhariwal's closed form of the schedule, before betas are bounded.
    expected = (
        torch.cos((torch.arange(1, 90) / 100 + 0.008) / 1.008 * torch.pi / 2) ** 2
        / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )
    torch.testing.assert_close(signal[:89], expected, atol=1e-5, rtol=1e-4)
    diffusion = Diffusion(100, 10)
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 4000, 7)
    for step in (0, 50, 99):
        noisy = diffusion.noised(clean, noise, torch.full((4000,), step))
        assert float(noisy.var()) == pytest.approx(1.0, abs=0.03)


def test_a_network_that_knows_the_sample_leads_any_noise_to_it() -> None:
    clean = torch.randn(3, 4, 7)
    asked: list[int] = []

    def denoise(_: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        asked.append(int(step[0]))
        return clean

    sampled = Diffusion(100, 10).sample(denoise, torch.randn(3, 4, 7))
    torch.testing.assert_close(sampled, clean, atol=1e-5, rtol=0)
    assert asked == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]


@pytest.mark.parametrize("length", [4, 8])
def test_the_network_keeps_the_shape_and_hears_step_and_condition(length: int) -> None:
    torch.manual_seed(0)
    network = ConditionalUnet1d(dim=7, condition_dim=5, channels=(8, 16, 24), step_dim=8, kernel=5, groups=4).eval()
    x, step, condition = torch.randn(2, length, 7), torch.tensor([3, 50]), torch.randn(2, 5)
    out = network(x, step, condition)
    assert out.shape == x.shape
    assert not torch.allclose(network(x, step + 20, condition), out)
    assert not torch.allclose(network(x, step, condition + 1), out)


def test_every_weight_is_trained() -> None:
    policy = small_policy()
    points, state, action = inputs()
    policy.loss(policy.encode(points), state, action).total.backward()
    assert not [name for name, p in policy.named_parameters() if p.grad is None]


def test_a_few_samples_are_learnt_by_heart_and_sampled_again() -> None:
    policy = small_policy()
    points, state, action = inputs(4)
    optimizer = torch.optim.AdamW(policy.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        policy.loss(policy.encode(points), state, action).total.backward()
        optimizer.step()
    policy.eval()
    with torch.no_grad():
        sampled = policy(points, state, generator=torch.Generator().manual_seed(5))
    assert float(F.mse_loss(sampled[..., :6], action[..., :6])) < 0.05
    assert ((sampled[..., 6] > 0) == (action[..., 6] > 0.5)).all()


def test_the_same_seed_samples_the_same_actions_and_another_one_others() -> None:
    policy = small_policy().eval()
    points, state, _ = inputs()
    with torch.no_grad():
        first, again, other = (policy(points, state, generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.isfinite(first).all()


def checkpoint() -> Checkpoint:
    normalizer = Normalizer(np.zeros(10), np.ones(10), np.zeros(6), np.full(6, 0.01))
    return Checkpoint(small_policy().eval(), CONFIG, SPEC, normalizer, ("reach the blob",))


def test_a_trial_begins_with_the_same_noise_and_a_plan_is_followed_before_the_next(tmp_path) -> None:
    save_checkpoint(tmp_path / "policy", checkpoint())
    assert load_checkpoint(tmp_path / "policy").config == CONFIG
    runtime = PolicyRuntime.load(tmp_path / "policy", device="cpu", dtype="float32")
    runtime.warm_up()
    planned: list[int] = []
    forward = runtime._forward

    def counted(*arguments):
        planned.append(len(actions))
        return forward(*arguments)

    runtime._forward = counted
    steps = episode(0).steps[:7]
    actions: list[np.ndarray] = []
    for step in steps:
        actions.append(runtime.act(step.cloud, step.state).action.to_array())
    assert planned == [0, 3, 6], "three actions of a plan are carried out"
    runtime.reset()
    again = [runtime.act(step.cloud, step.state).action.to_array() for step in steps]
    np.testing.assert_array_equal(actions, again)


def test_configurations_survive_json_and_wrong_ones_are_named() -> None:
    assert PolicyConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG
    with pytest.raises(ValueError, match=r"head.chunk: expected a multiple of 4"):
        DiffusionHeadConfig(chunk=6)
    with pytest.raises(ValueError, match=r"head.execute: expected at most head.chunk 4"):
        DiffusionHeadConfig(execute=5)
    with pytest.raises(ValueError, match=r"head.sample_steps: expected a divisor"):
        DiffusionHeadConfig(sample_steps=7)
    with pytest.raises(ValueError, match=r"model.head.kind: expected one of mlp, diffusion"):
        PolicyConfig.from_dict({**CONFIG.to_dict(), "head": {"kind": "flow"}})
    language = build_policy(PolicyConfig(encoder=None, head=DiffusionHeadConfig(language_dim=3))).eval()
    with pytest.raises(ValueError, match="expects an instruction feature"):
        language(torch.zeros(1, 2, 1, 3), torch.zeros(1, 2, 10))
