"""The maximum over a layer's points, computed for the winners alone, is that of the layer."""

import copy

import pytest
import torch
from torch import Tensor, nn

from clar_core.models.baselines.pointnet import PointNet, PointNetConfig
from clar_core.models.widest_layer import max_of_widest

BATCH, POINTS, WIDTH, CHANNELS = 4, 50, 16, 40


def layers(dtype: torch.dtype = torch.float64, momentum: float | None = 0.1) -> tuple[nn.Linear, nn.BatchNorm1d]:
    torch.manual_seed(0)
    linear, norm = nn.Linear(WIDTH, CHANNELS, dtype=dtype), nn.BatchNorm1d(CHANNELS, momentum=momentum, dtype=dtype)
    nn.init.normal_(norm.weight)  # of either sign: the smallest value wins where it is negative
    nn.init.normal_(norm.bias)
    return linear, norm


def plain(linear: nn.Linear, norm: nn.BatchNorm1d, points: Tensor) -> Tensor:
    return torch.relu(norm(linear(points.flatten(0, 1)))).view(*points.shape[:2], -1).amax(1)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_value_gradient_and_running_statistics_are_those_of_the_plain_layers(momentum: float | None) -> None:
    linear, norm = layers(momentum=momentum)
    linear_2, norm_2 = copy.deepcopy(linear), copy.deepcopy(norm)
    assert (norm.weight < 0).any()
    assert (norm.weight > 0).any()
    for training in (True, True, False):
        norm.train(training)
        norm_2.train(training)
        points = torch.randn(BATCH, POINTS, WIDTH, dtype=torch.float64, requires_grad=True)
        ours, theirs = max_of_widest(linear, norm, points), plain(linear_2, norm_2, points)
        torch.testing.assert_close(ours, theirs)
        direction = torch.randn_like(ours)
        gradients = [
            torch.autograd.grad((out * direction).sum(), [points, *a.parameters(), *b.parameters()])
            for out, a, b in ((ours, linear, norm), (theirs, linear_2, norm_2))
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(value, norm_2.state_dict()[name], msg=name)


def test_statistics_keep_full_precision_under_autocast() -> None:
    linear, norm = layers(torch.float32)
    linear_2, norm_2 = copy.deepcopy(linear), copy.deepcopy(norm)
    points = torch.randn(BATCH, POINTS, WIDTH)
    plain(linear_2, norm_2, points)
    with torch.autocast("cpu", torch.bfloat16):
        ours = max_of_widest(linear, norm, points)
    torch.testing.assert_close(norm.running_mean, norm_2.running_mean)
    torch.testing.assert_close(norm.running_var, norm_2.running_var)
    torch.testing.assert_close(ours, plain(linear_2, norm_2, points), atol=0.05, rtol=0.02)


def test_a_channel_without_variance_stays_finite() -> None:
    linear, norm = layers(torch.float32)
    one = torch.nn.functional.normalize(torch.arange(1.0, WIDTH + 1), dim=0)
    points = 30.0 * torch.randn(BATCH, POINTS, WIDTH)
    points -= (points @ one).unsqueeze(-1) * one
    points.requires_grad_()
    with torch.no_grad():
        linear.weight.copy_(5.0 * one.expand(CHANNELS, WIDTH))
    value = max_of_widest(linear, norm, points)
    gradients = torch.autograd.grad(value.sum(), [points, *linear.parameters(), *norm.parameters()])
    assert all(torch.isfinite(x).all() for x in (value, *gradients, *norm.state_dict().values()))


def test_the_whole_network_is_that_of_its_plain_layers() -> None:
    torch.manual_seed(0)
    network = PointNet(PointNetConfig(feature_dim=8)).double().train()
    cloud = torch.rand(BATCH, POINTS, 3, dtype=torch.float64)
    other = copy.deepcopy(network)
    assert other.transform is not None
    turn = other.transform.head(other.transform.points(cloud.flatten(0, 1)).view(BATCH, POINTS, -1).amax(1))
    rows = other.points((cloud @ turn.view(BATCH, 3, 3)).flatten(0, 1))
    plainly = other.head(rows.view(BATCH, POINTS, -1).amax(1))
    features = network(cloud)
    torch.testing.assert_close(features[-1], plainly)
    assert features.tokens.shape == (BATCH, POINTS, 128)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name)
