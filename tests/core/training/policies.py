"""Small checkpoints for tests."""

from dataclasses import replace

import numpy as np
import torch

from clar_core.models.baselines.mae_vit import VC1Config
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.policy import PolicyHeadConfig
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.training.checkpoints import Checkpoint
from clar_core.training.normalizer import Normalizer
from tests.core.data.demonstrations import SPEC

TINY_IMAGES = VC1Config(pixels=32, patch=16, dim=24, depth=1, heads=3)
TINY = PointEncoderConfig(dim=24, depth=1, heads=3, centres=8, neighbours=6, patch_widths=(8, 12, 16))


def image_checkpoint(seed: int = 0) -> Checkpoint:
    """A policy that sees colour images of 32 pixels."""
    torch.manual_seed(seed)
    config = PolicyConfig(encoder=TINY_IMAGES, head=PolicyHeadConfig(width=16, hidden=(16,)))
    return replace(tiny_checkpoint(seed=seed), policy=build_policy(config).eval(), config=config)


def tiny_checkpoint(*, language: bool = False, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    config = PolicyConfig(
        encoder=TINY, head=PolicyHeadConfig(width=16, hidden=(16,), language_dim=2 if language else 0)
    )
    rng = np.random.default_rng(seed)
    normalizer = Normalizer.fit(
        rng.normal((0.5, 0, 0.2, 1, 0, 0, 0, -1, 0, 0.5), 0.1, (50, 10)).astype(np.float32),
        rng.normal(0, 0.01, (50, 7)).astype(np.float32),
    )
    return Checkpoint(
        build_policy(config).eval(),
        config,
        SPEC,
        normalizer,
        ("lift it", "reach it"),
        torch.eye(2) if language else None,
        provenance={"note": "test"},
    )
