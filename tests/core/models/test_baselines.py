"""Encoders that CLAR is compared with, behind the one interface."""

from __future__ import annotations

import json

import pytest
import torch

from clar_core.geometry.points_torch import farthest_point_sampling
from clar_core.models.baselines.neighbourhoods import ball, gather
from clar_core.models.registry import BASELINES, PRESETS, PolicyConfig, build_encoder, build_policy, encoder_preset

WIDTHS = {"pointnet": 256, "pointnet2": 256, "pointnext": 512, "dp3": 64}


def clouds(batch: int = 2, size: int = 1024) -> torch.Tensor:
    points = torch.rand(batch, size, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = farthest_point_sampling(points, size)
    return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))


@pytest.fixture(params=list(BASELINES))
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


def test_balls_hold_near_points_only() -> None:
    points = clouds(1, 512)
    rows = ball(points[:, :32], points, 0.3, 16)
    distances = (gather(points, rows) - points[:, :32].unsqueeze(2)).norm(dim=-1)
    assert rows.shape == (1, 32, 16)
    assert float(distances.max()) <= 0.3
    assert (rows[..., 0] == torch.arange(32)).all(), "a centre is the nearest point of itself"


def test_configurations_survive_json() -> None:
    for name in BASELINES:
        config = PolicyConfig(encoder=encoder_preset(name))
        again = PolicyConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config
        build_policy(again)


def test_an_unknown_encoder_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean pointnext"):
        encoder_preset("pointnxt")
    assert set(BASELINES) <= set(PRESETS)
