"""A small policy with random weights, written to disk as training writes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clar_core.models.diffusion_policy import DiffusionHeadConfig
from clar_core.models.policy import PolicyHeadConfig
from clar_core.models.registry import build_policy, policy_preset
from clar_core.observation.spec import ObservationSpec
from clar_core.training.checkpoints import Checkpoint, save_checkpoint
from clar_core.training.normalizer import Normalizer


def write_checkpoint(
    directory: Path, *, encoder: str = "pointnet", spec: ObservationSpec | None = None, history: int = 1
) -> Path:
    """Write the checkpoint and return its directory. The steps that it asks for are about a millimetre.

    With a history the action depends visibly on what is seen; without one it hardly does, as of an untrained network.
    """
    torch.manual_seed(0)
    config = policy_preset(encoder)
    if history > 1:
        config = replace(config, head=PolicyHeadConfig(history=history))
    mean = np.array([0.5, 0.0, 0.3, 1, 0, 0, 0, -1, 0, 0.5], dtype=np.float32)
    normalizer = Normalizer(
        state_mean=mean,
        state_std=np.full(10, 0.1, dtype=np.float32),
        action_mean=np.array([0.001, 0, 0, 0, 0, 0], dtype=np.float32),
        action_std=np.full(6, 0.001, dtype=np.float32),
    )
    if isinstance(config.head, DiffusionHeadConfig):  # decides within a tick on any machine
        config = replace(config, head=replace(config.head, channels=(32, 64, 64), sample_steps=4))
    policy = build_policy(config)
    if history > 1:
        last = [module for module in policy.modules() if isinstance(module, torch.nn.Linear)][-1]
        torch.nn.init.normal_(last.weight, std=0.3)
    save_checkpoint(directory, Checkpoint(policy, config, spec or ObservationSpec(), normalizer, provenance={}))
    return directory
