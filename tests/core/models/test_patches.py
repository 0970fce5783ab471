import pytest
import torch

from clar_core.models.patches import PatchEmbedding, group_patches


def clouds(batch: int = 2, size: int = 96, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, size, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def embedding(seed: int = 0) -> PatchEmbedding:
    torch.manual_seed(seed)
    return PatchEmbedding(widths=(8, 12, 20), dim=16)


def test_patches_are_those_of_a_plain_loop() -> None:
    points = clouds()
    centres, patches = group_patches(points, 6, 5, fps_ordered=True)
    for b in range(2):
        for g in range(6):
            distances = [float((points[b, g] - p).norm()) for p in points[b]]
            nearest = sorted(range(len(distances)), key=distances.__getitem__)[:5]
            expected = sorted((points[b, i] - points[b, g]).tolist() for i in nearest)
            assert sorted(patches[b, g].tolist()) == expected
            assert centres[b, g].tolist() == points[b, g].tolist()


def test_without_the_flag_the_centres_are_farthest_points_of_the_cloud() -> None:
    points = clouds(1)
    points[0, 90] = torch.tensor([5.0, 0.0, 0.0])
    ordered, _ = group_patches(points, 4, 3, fps_ordered=True)
    sampled, _ = group_patches(points, 4, 3, fps_ordered=False)
    assert not (ordered == points[0, 90]).all(-1).any()
    assert (sampled[0, 1] == points[0, 90]).all()


def test_points_near_the_origin_can_be_centres() -> None:
    points = torch.tensor([[[1.0, 0, 0], [0.001, 0, 0], [1.01, 0, 0], [1.02, 0, 0]]])
    centres, _ = group_patches(points, 2, 2, fps_ordered=False)
    assert centres[0, 1].tolist() == points[0, 1].tolist()


def test_too_small_clouds_are_refused_by_number() -> None:
    with pytest.raises(ValueError, match=r"at least 32 points, for 8 patches of 32; got 20"):
        group_patches(clouds(1, 20), 8, 32, fps_ordered=True)


@pytest.mark.parametrize("training", [True, False])
def test_the_split_layer_equals_the_layer_on_repeated_features(training: bool) -> None:
    module = embedding().double().train(training)
    patches = torch.randn(2, 3, 7, 3, dtype=torch.float64)

    local = module.first_conv(patches.reshape(-1, 3)).view(6, 7, 12)
    repeated = local.amax(1, keepdim=True).expand(-1, 7, -1)
    whole = module.second_conv(torch.cat([repeated, local], dim=-1).flatten(0, 1))
    expected = whole.view(2, 3, 7, 16).amax(2)

    torch.testing.assert_close(module(patches), expected)


def test_tokens_do_not_depend_on_the_order_in_a_patch() -> None:
    module = embedding().eval()
    patches = torch.randn(1, 2, 9, 3)
    torch.testing.assert_close(module(patches), module(patches[:, :, torch.randperm(9)]))


def test_parameters_have_the_published_names_and_shapes() -> None:
    module = PatchEmbedding(widths=(128, 256, 512), dim=384)
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "first_conv.0.weight": (128, 3),
        "first_conv.1.weight": (128,),
        "first_conv.3.weight": (256, 128),
        "second_conv.0.weight": (512, 512),
        "second_conv.1.weight": (512,),
        "second_conv.3.weight": (384, 512),
    }


def test_published_convolutions_give_the_same_tokens() -> None:
    """The layout of Point-MAE: 1x1 convolutions over channels-first patches."""
    module = embedding().eval()
    convolved = torch.nn.ModuleDict()
    for name in ("first_conv", "second_conv"):
        layers = []
        for layer in getattr(module, name):
            if isinstance(layer, torch.nn.Linear):
                conv = torch.nn.Conv1d(layer.in_features, layer.out_features, 1)
                conv.load_state_dict({"weight": layer.weight.unsqueeze(-1), "bias": layer.bias})
                layers.append(conv)
            else:
                layers.append(layer)
        convolved[name] = torch.nn.Sequential(*layers)
    patches = torch.randn(2, 3, 7, 3)
    with torch.no_grad():
        local = convolved["first_conv"](patches.view(6, 7, 3).transpose(1, 2))
        both = torch.cat([local.amax(2, keepdim=True).expand(-1, -1, 7), local], dim=1)
        expected = convolved["second_conv"](both).amax(2).view(2, 3, 16)
        torch.testing.assert_close(module(patches), expected)
