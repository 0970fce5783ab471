"""Encoders that CLAR is compared with, behind the one interface."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from clar_core.geometry.points_torch import farthest_point_sampling
from clar_core.models.baselines.lift3d import Lift3D, Lift3DConfig
from clar_core.models.baselines.neighbourhoods import ball, gather
from clar_core.models.baselines.published import PublishedWeightsError, load_published
from clar_core.models.registry import (
    BASELINES,
    PRESETS,
    PolicyConfig,
    build_encoder,
    build_policy,
    encoder_preset,
    image_pixels,
)
from clar_core.models.vision_libraries import import_open_clip

POINT_BASELINES = [name for name in BASELINES if not image_pixels(PRESETS[name])]
WIDTHS = {"pointnet": 256, "pointnet2": 256, "pointnext": 512, "dp3": 64, "lift3d": 1536}


def clouds(batch: int = 2, size: int = 1024) -> torch.Tensor:
    points = torch.rand(batch, size, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = farthest_point_sampling(points, size)
    return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))


@pytest.fixture(params=POINT_BASELINES)
def encoder(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    built = build_encoder(encoder_preset(request.param))
    assert built is not None
    assert built.feature_dim == WIDTHS[request.param]
    return built.eval()


def test_a_cloud_gives_the_same_feature_alone_and_in_a_batch(encoder: torch.nn.Module) -> None:
    points = clouds()
    with torch.no_grad():
        together = encoder(points).pooled
        alone = encoder(points[1:]).pooled
    assert together.shape == (2, encoder.feature_dim)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-4)


def test_points_out_of_order_are_put_in_order(encoder: torch.nn.Module) -> None:
    points = clouds(1, 256)
    # The first point is where the sampling starts; what comes after it must not matter.
    shuffled = torch.cat([points[:, :1], points[:, 1:].flip(1)], dim=1)
    with torch.no_grad():
        expected = encoder(points).pooled
        torch.testing.assert_close(encoder(shuffled, fps_ordered=False).pooled, expected, atol=1e-5, rtol=1e-4)


def test_every_weight_is_trained(encoder: torch.nn.Module) -> None:
    encoder.train()(clouds()).pooled.square().sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert not idle


def clip_weights(config: Lift3DConfig) -> dict[str, torch.Tensor]:
    """Small random weights in the published layout: those of open_clip's own vision transformer."""
    open_clip = import_open_clip()
    torch.manual_seed(1)
    visual = open_clip.transformer.VisionTransformer(
        image_size=16 * config.grid, patch_size=16, width=config.dim, layers=config.depth, heads=config.heads,
        mlp_ratio=4.0, output_dim=8, act_layer=open_clip.transformer.QuickGELU,
    )  # fmt: skip
    return {f"visual.{name}": value for name, value in visual.state_dict().items()} | {"logit_scale": torch.ones(())}


SMALL_LIFT3D = Lift3DConfig(dim=24, depth=2, heads=3, grid=4, centres=8, neighbours=6)


def test_weights_of_clip_are_taken_and_stay_fixed(tmp_path: Path) -> None:
    weights = clip_weights(SMALL_LIFT3D)
    torch.save(weights, tmp_path / "clip.pt")
    encoder = Lift3D(SMALL_LIFT3D)
    load_published(encoder, tmp_path / "clip.pt")
    attention = encoder.transformer.resblocks[1].attn
    torch.testing.assert_close(attention.in_proj_weight, weights["visual.transformer.resblocks.1.attn.in_proj_weight"])
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert all(name.startswith("tokenizer.") or ".in_proj_weight.0." in name for name in trained)
    assert len(trained) > 8


def test_blocks_compute_what_those_of_clip_do(tmp_path: Path) -> None:
    open_clip = import_open_clip()
    weights = clip_weights(SMALL_LIFT3D)
    block = open_clip.transformer.ResidualAttentionBlock(24, 3, 4.0, act_layer=open_clip.transformer.QuickGELU)
    prefix = "visual.transformer.resblocks.0."
    block.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    encoder = Lift3D(SMALL_LIFT3D)
    encoder.load_published(weights)
    x = torch.randn(2, 9, 24)
    with torch.no_grad():
        torch.testing.assert_close(encoder.transformer.resblocks[0](x), block(x), atol=1e-5, rtol=1e-4)


def test_missing_and_foreign_weights_say_where_the_right_ones_come_from(tmp_path: Path) -> None:
    encoder = Lift3D(SMALL_LIFT3D)
    with pytest.raises(PublishedWeightsError, match=r"no file .*open_clip.create_model"):
        load_published(encoder, tmp_path / "clip.pt")
    weights = clip_weights(SMALL_LIFT3D)
    del weights["visual.ln_post.bias"]
    torch.save(weights, tmp_path / "clip.pt")
    with pytest.raises(PublishedWeightsError, match=r"visual.ln_post.bias: missing"):
        load_published(encoder, tmp_path / "clip.pt")
    (tmp_path / "clip.pt").write_bytes(b"not weights")
    with pytest.raises(PublishedWeightsError, match="cannot be read as weights"):
        load_published(encoder, tmp_path / "clip.pt")
    torch.save({"model": print}, tmp_path / "clip.pt")
    with pytest.raises(PublishedWeightsError, match="cannot be read as weights"):
        load_published(encoder, tmp_path / "clip.pt")


def test_balls_hold_near_points_only() -> None:
    points = clouds(1, 512)
    rows = ball(points[:, :32], points, 0.3, 16)
    distances = (gather(points, rows) - points[:, :32].unsqueeze(2)).norm(dim=-1)
    assert rows.shape == (1, 32, 16)
    assert float(distances.max()) <= 0.3
    assert (rows[..., 0] == torch.arange(32)).all(), "a centre is the nearest point of itself"


def test_configurations_survive_json() -> None:
    for name in POINT_BASELINES:
        config = PolicyConfig(encoder=encoder_preset(name))
        again = PolicyConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config
        build_policy(again)


def test_an_unknown_encoder_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean pointnext"):
        encoder_preset("pointnxt")
    assert set(BASELINES) <= set(PRESETS)
