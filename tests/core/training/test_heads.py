"""Runs whose policies have another head than the paper's."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.models import registry
from clar_core.models.diffusion_policy import DiffusionHeadConfig
from clar_core.runtime import PolicyRuntime
from clar_core.training.checkpoints import load_checkpoint
from clar_core.training.controls import train_controls
from clar_core.training.imitation import train_imitation
from tests.core.data.demonstrations import episode
from tests.core.training.test_imitation import config, interrupt_after, weights


@dataclass(frozen=True, kw_only=True)
class TinyDiffusionHead(DiffusionHeadConfig):
    width: int = 8
    channels: tuple[int, ...] = (8, 16, 16)
    step_dim: int = 8
    groups: int = 4


@pytest.fixture(autouse=True)
def tiny_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.HEADS, "diffusion", TinyDiffusionHead)


@pytest.mark.parametrize("encoder_training", ["scratch", "frozen_random"])
def test_a_diffusion_run_acts_and_resumes_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder_training: str
) -> None:
    run = config(tmp_path, encoder="dp3_diffusion", encoder_training=encoder_training, samples=40, validate_every=16)
    assert (run.head_config().history, run.head_config().chunk) == (2, 4)
    train_imitation(replace(run, output=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train_imitation(run)
    best = train_imitation(run)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    policy = PolicyRuntime.load(best, device="cpu", dtype="float32")
    actions = [policy.act(step.cloud, step.state).action.to_array() for step in episode(0).steps[:4]]
    assert np.isfinite(actions).all()


def test_the_controls_of_a_run_have_its_head(tmp_path: Path) -> None:
    train_imitation(config(tmp_path, encoder="dp3_diffusion", samples=16))
    made = train_controls(tmp_path / "run", controls=("blind",))
    head = load_checkpoint(made["blind"] / "last").config.head
    assert isinstance(head, DiffusionHeadConfig)
    assert (head.history, head.chunk) == (2, 4)


def test_any_encoder_takes_any_head(tmp_path: Path) -> None:
    run = config(tmp_path, encoder="blind", head="diffusion", chunk=8, samples=16)
    head = load_checkpoint(train_imitation(run)).config.head
    assert (head.history, head.chunk) == (2, 8)
    assert config(tmp_path, encoder="dp3_diffusion", head="mlp").head_config().chunk == 1
    with pytest.raises(ValueError, match=r"head.chunk: expected a multiple of 4"):
        config(tmp_path, encoder="dp3_diffusion", chunk=6)
