import pytest
import torch

from clar_core.models.encoder import PointEncoder, PointEncoderConfig
from clar_core.models.transformer import Attention, Block, DropPath

TINY = PointEncoderConfig(dim=24, depth=2, heads=3, centres=8, neighbours=6, patch_widths=(8, 12, 16), drop_path=0.0)


def encoder(seed: int = 0) -> PointEncoder:
    torch.manual_seed(seed)
    return PointEncoder(TINY)


def clouds(batch: int = 3, size: int = 64) -> torch.Tensor:
    return torch.rand(batch, size, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_features_have_the_stated_shapes() -> None:
    features = encoder()(clouds())
    assert features.tokens.shape == (3, 8, 24)
    assert features.centres.shape == (3, 8, 3)
    assert features.pooled.shape == (3, 48)
    assert encoder().feature_dim == 48


def test_the_global_feature_is_the_class_token_beside_the_maximum_over_tokens() -> None:
    features = encoder().eval()(clouds())
    torch.testing.assert_close(features.pooled[:, 24:], features.tokens.amax(1))


def test_gradients_reach_every_parameter() -> None:
    model = encoder()
    model(clouds()).pooled.square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of a BatchNorm moves nothing.
    assert set(without) <= {"patch_embed.first_conv.0.bias", "patch_embed.second_conv.0.bias"}


def test_points_beyond_the_centres_may_come_in_any_order() -> None:
    model = encoder().eval()
    points = clouds(1)
    shuffled = torch.cat([points[:, :8], points[:, 8:][:, torch.randperm(56)]], dim=1)
    torch.testing.assert_close(model(points).pooled, model(shuffled).pooled)


def test_the_feature_does_not_depend_on_the_order_of_the_centres() -> None:
    model = encoder().eval()
    points = clouds(1)
    shuffled = torch.cat([points[:, :8][:, torch.randperm(8)], points[:, 8:]], dim=1)
    torch.testing.assert_close(model(points).pooled, model(shuffled).pooled, atol=1e-5, rtol=1e-4)


def test_positions_are_added_at_every_block() -> None:
    model = encoder().eval()
    tokens, centres = torch.randn(1, 5, 24), torch.randn(1, 5, 3)
    positions = model.pos_embed(centres)
    expected = tokens
    for block in model.blocks.blocks:
        expected = block(expected + positions)
    torch.testing.assert_close(model.encode(tokens, centres), model.norm(expected))


def test_any_subset_of_patches_can_be_encoded() -> None:
    model = encoder().eval()
    centres, patches = model.group(clouds(), fps_ordered=True)
    visible = model.encode(model.patch_embed(patches)[:, :3], centres[:, :3])
    assert visible.shape == (3, 3, 24)


def test_drop_path_keeps_the_expectation_and_is_off_in_evaluation() -> None:
    drop = DropPath(0.25)
    x = torch.ones(20_000, 2)
    torch.manual_seed(0)
    dropped = drop(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert (dropped[:, 0] == dropped[:, 1]).all()
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert drop.eval()(x) is x


def test_drop_path_rises_linearly_with_depth() -> None:
    model = PointEncoder(PointEncoderConfig(dim=24, depth=3, heads=3, drop_path=0.1, patch_widths=(8, 12, 16)))
    rates = [block.drop_path.probability for block in model.blocks.blocks if isinstance(block, Block)]
    assert rates == pytest.approx([0.0, 0.05, 0.1])


def test_wrong_configurations_are_refused_by_field() -> None:
    with pytest.raises(ValueError, match=r"encoder.heads: expected a divisor of dim 24, got 5"):
        PointEncoderConfig(dim=24, heads=5)
    with pytest.raises(ValueError, match=r"encoder.neighbours"):
        PointEncoderConfig(neighbours=0)


def test_training_in_bfloat16_on_a_cpu_computes_the_same_attention() -> None:
    torch.manual_seed(0)
    attention = Attention(dim=24, heads=3)
    x = torch.randn(2, 17, 24)
    with torch.autocast("cpu", torch.bfloat16):
        trained = attention(x)
        with torch.no_grad():
            deployed = attention(x)
    torch.testing.assert_close(trained, deployed, atol=0.01, rtol=0.05)
    torch.testing.assert_close(trained.float(), attention(x), atol=0.02, rtol=0.1)
