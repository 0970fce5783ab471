import pytest
import torch

from clar_core.models.baselines.pointnet import PointNetConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.policy import Policy, PolicyHeadConfig
from clar_core.models.registry import PRESETS, PolicyConfig, build_policy, encoder_preset

TINY = PointEncoderConfig(dim=24, depth=1, heads=3, centres=8, neighbours=6, patch_widths=(8, 12, 16))


def inputs(batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.rand(batch, 64, 3) * 2 - 1, torch.randn(batch, 10)


@pytest.mark.parametrize("encoder", [TINY, PointNetConfig(), None])
def test_every_encoder_gives_a_seven_number_action(encoder: PointEncoderConfig | PointNetConfig | None) -> None:
    policy = build_policy(PolicyConfig(encoder=encoder))
    assert policy(*inputs()).shape == (4, 7)


def test_an_untrained_policy_predicts_nearly_nothing() -> None:
    policy = build_policy(PolicyConfig(encoder=TINY))
    assert policy(*inputs()).abs().max() < 0.05


def test_a_blind_policy_ignores_the_cloud() -> None:
    policy = build_policy(PolicyConfig(encoder=None)).eval()
    points, state = inputs()
    torch.testing.assert_close(policy(points, state), policy(points + 1, state))


def test_language_is_an_input_exactly_where_the_head_says_so() -> None:
    points, state = inputs()
    head = PolicyHeadConfig(language_dim=5)
    policy = build_policy(PolicyConfig(encoder=None, head=head)).eval()
    one, other = (torch.eye(5)[i].expand(4, -1) for i in (0, 1))
    assert not torch.allclose(policy(points, state, one), policy(points, state, other))
    with pytest.raises(ValueError, match=r"expects an instruction feature"):
        policy(points, state)
    with pytest.raises(ValueError, match=r"expects no instruction feature"):
        build_policy(PolicyConfig(encoder=None))(points, state, one)


def test_a_layer_norm_head_runs_on_a_single_sample_in_training() -> None:
    policy = build_policy(PolicyConfig(encoder=None, head=PolicyHeadConfig(norm="layer")))
    assert policy(*inputs(1)).shape == (1, 7)


def test_an_encoder_without_a_stated_width_is_refused() -> None:
    with pytest.raises(TypeError, match=r"feature_dim"):
        Policy(torch.nn.Linear(3, 3), PolicyHeadConfig())


@pytest.mark.parametrize("name", list(PRESETS))
def test_configurations_survive_json(name: str) -> None:
    config = PolicyConfig(encoder=encoder_preset(name), head=PolicyHeadConfig(hidden=(8, 9)))
    assert PolicyConfig.from_dict(config.to_dict()) == config


def test_the_presets_have_the_published_sizes() -> None:
    paper, small = encoder_preset("clar"), encoder_preset("clar_small")
    assert isinstance(paper, PointEncoderConfig)
    assert isinstance(small, PointEncoderConfig)
    assert (paper.dim, paper.depth, paper.heads, paper.centres, paper.neighbours) == (384, 12, 6, 64, 32)
    assert (small.dim, small.depth, small.heads) == (192, 6, 3)


def test_unknown_presets_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'clar_smal'; did you mean clar_small"):
        encoder_preset("clar_smal")


def test_wrong_json_is_refused_by_field() -> None:
    good = PolicyConfig(encoder=TINY).to_dict()
    cases = {
        "model.encoder.kind": {**good, "encoder": {**good["encoder"], "kind": "cnn"}},
        "model.encoder.width": {**good, "encoder": {**good["encoder"], "width": 1}},
        "model.encoder.dim: expected int": {**good, "encoder": {**good["encoder"], "dim": "24"}},
        "model.encoder.patch_widths": {**good, "encoder": {**good["encoder"], "patch_widths": 3}},
        "model.head.norm: missing": {**good, "head": {k: v for k, v in good["head"].items() if k != "norm"}},
        "model.head: expected an object": {"encoder": good["encoder"]},
        "model.encoder.heads": {**good, "encoder": {**good["encoder"], "heads": 7}},
    }
    for message, values in cases.items():
        with pytest.raises(ValueError, match=message):
            PolicyConfig.from_dict(values)


def test_a_tiny_batch_can_be_learnt_by_heart() -> None:
    torch.manual_seed(0)
    policy = build_policy(PolicyConfig(encoder=TINY))
    points, state = inputs(8)
    target = torch.randn(8, 7)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (policy(points, torch.zeros_like(state)) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
