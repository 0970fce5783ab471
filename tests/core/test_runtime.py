from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.models.registry import build_policy
from clar_core.observation.builder import TooFewPointsError, build_network_points
from clar_core.runtime import CheckpointError, InstructionError, PolicyOutputError, PolicyRuntime
from clar_core.training.checkpoints import save_checkpoint
from tests.core.data.demonstrations import SPEC, episode
from tests.core.training.policies import tiny_checkpoint

STEP = episode(0).steps[0]


def runtime(**options: bool) -> PolicyRuntime:
    return PolicyRuntime(tiny_checkpoint(**options), device="cpu", dtype="float32")


def test_a_saved_policy_acts_as_the_network_does(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    save_checkpoint(tmp_path / "p", checkpoint)
    decision = PolicyRuntime.load(tmp_path / "p", device="cpu", dtype="float32").act(STEP.cloud, STEP.state)
    points = torch.from_numpy(build_network_points(STEP.cloud, SPEC))[None]
    state = torch.from_numpy(checkpoint.normalizer.normalise_state(STEP.state))[None]
    with torch.no_grad():
        expected = checkpoint.normalizer.denormalise_action(checkpoint.policy(points, state)[0].numpy())
    np.testing.assert_allclose(decision.action.to_array(), expected, rtol=1e-5)
    assert 0.0 <= decision.action.gripper <= 1.0


def test_every_stage_is_timed() -> None:
    stages = runtime().act(STEP.cloud, STEP.state).stages_ms
    assert list(stages) == ["fps", "encode", "postprocess"]
    assert all(duration > 0 for duration in stages.values())


def test_the_same_observation_gives_the_same_action() -> None:
    policy = runtime()
    policy.warm_up()
    first, second = (policy.act(STEP.cloud, STEP.state).action.to_array() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_output_that_is_not_finite_is_no_action() -> None:
    checkpoint = tiny_checkpoint()
    policy = PolicyRuntime(checkpoint, device="cpu", dtype="float32")
    with torch.no_grad():
        checkpoint.policy.mlp[-1].bias.fill_(float("nan"))
    with pytest.raises(PolicyOutputError, match=r"not finite"):
        policy.act(STEP.cloud, STEP.state)


def test_input_that_is_not_finite_or_too_short_is_refused() -> None:
    policy = runtime()
    with pytest.raises(ValueError, match=r"state: expected 10 finite numbers"):
        policy.act(STEP.cloud, np.full(10, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"state: expected 10 finite numbers"):
        policy.act(STEP.cloud, STEP.state[:9])
    with pytest.raises(ValueError, match=r"cloud: expected finite"):
        policy.act(np.full_like(STEP.cloud, np.inf), STEP.state)
    with pytest.raises(TooFewPointsError):
        policy.act(STEP.cloud[:3], STEP.state)


def test_a_policy_with_language_needs_a_sentence_it_knows() -> None:
    policy = runtime(language=True)
    policy.warm_up()
    lift, reach = (policy.act(STEP.cloud, STEP.state, s).action.to_array() for s in ("lift it", "reach it"))
    assert not np.array_equal(lift, reach)
    for sentence in (None, "dance"):
        with pytest.raises(InstructionError, match=r"knows: lift it; reach it"):
            policy.check_instruction(sentence)


def test_a_blind_policy_needs_no_cloud() -> None:
    checkpoint = tiny_checkpoint()
    config = replace(checkpoint.config, encoder=None)
    blind = replace(checkpoint, policy=build_policy(config).eval(), config=config)
    policy = PolicyRuntime(blind, device="cpu", dtype="float32")
    assert policy.is_blind
    without, with_one = (policy.act(cloud, STEP.state).action.to_array() for cloud in (None, STEP.cloud))
    np.testing.assert_array_equal(without, with_one)
    with pytest.raises(ValueError, match="this policy sees the cloud"):
        runtime().act(None, STEP.state)


def test_a_policy_without_language_takes_any_sentence() -> None:
    runtime().act(STEP.cloud, STEP.state, "whatever")


def test_auto_measures_and_chooses_a_type() -> None:
    policy = PolicyRuntime(tiny_checkpoint(), device="cpu", dtype="auto")
    assert policy.dtype in (torch.float32, torch.bfloat16)
    assert np.isfinite(policy.act(STEP.cloud, STEP.state).action.to_array()).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"device: cuda was asked for and PyTorch sees no GPU"):
        PolicyRuntime(tiny_checkpoint(), device="cuda")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "p", replace(tiny_checkpoint(), provenance={}))
    (tmp_path / "p/normalizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"normalizer.json: missing"):
        PolicyRuntime.load(tmp_path / "p")


def test_a_calibration_that_the_training_data_did_not_have_is_said() -> None:
    known, other = "sha256:" + 64 * "a", "sha256:" + 64 * "b"
    checkpoint = replace(tiny_checkpoint(), provenance={"data": {"calibrations": [known[:23]]}})
    runtime = PolicyRuntime(checkpoint, device="cpu")
    assert runtime.remark_on_calibration(known) == ""
    assert "is another than the training data's" in runtime.remark_on_calibration(other)
    assert PolicyRuntime(replace(checkpoint, provenance={}), device="cpu").remark_on_calibration(other) == ""
