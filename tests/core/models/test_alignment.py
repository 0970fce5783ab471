import math

import numpy as np
import pytest
import torch

from clar_core.data.pretrain import bilinear
from clar_core.models.alignment import DeformableAlignment


def alignment(seed: int = 0) -> DeformableAlignment:
    torch.manual_seed(seed)
    module = DeformableAlignment(query_dim=12, value_dim=10, dim=16, heads=4, points=3, cells=7)
    for layer in (module.offsets, module.weights):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return module


def sample(feature_map: torch.Tensor, u: float, v: float) -> torch.Tensor:
    """Bilinear sample of (h, w, D) at (u, v) in [0, 1], zeros outside; written out."""
    height, width, depth = feature_map.shape
    x, y = u * width - 0.5, v * height - 0.5
    result = torch.zeros(depth)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                result += feature_map[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return result


def test_equation_5_agrees_with_a_plain_loop() -> None:
    module = alignment()
    queries, feature_map = torch.randn(2, 5, 12), torch.randn(2, 7, 7, 10)
    reference = torch.rand(2, 5, 2)
    expected = torch.zeros(2, 5, 16)
    for b in range(2):
        value = module.value(feature_map[b])
        for q in range(5):
            offsets = torch.tanh(module.offsets(queries[b, q])).view(4, 3, 2) * 3.0 / 7
            weights = module.weights(queries[b, q]).view(4, 3).softmax(-1)
            heads = []
            for h in range(4):
                own = value[..., h * 4 : (h + 1) * 4]
                total = torch.zeros(4)
                for k in range(3):
                    u, v = (reference[b, q] + offsets[h, k]).tolist()
                    total = total + weights[h, k] * sample(own, u, v)
                heads.append(total)
            expected[b, q] = module.out(torch.cat(heads))
    torch.testing.assert_close(module(queries, reference, feature_map), expected, atol=1e-5, rtol=1e-4)


def test_queries_look_around_their_reference_at_first_and_never_far_away() -> None:
    module = DeformableAlignment(query_dim=12, value_dim=10, dim=16, heads=8, points=4, cells=14, max_offset_cells=3.0)
    queries, reference = torch.randn(1, 6, 12) * 100, torch.rand(1, 6, 2)
    locations = module.sampling(queries, reference).locations
    cells = ((locations - reference[:, :, None, None]) * 14).norm(dim=-1)
    torch.testing.assert_close(cells[0, 0, 0], torch.tensor([0.25, 0.5, 0.75, 1.0]))
    torch.nn.init.normal_(module.offsets.weight, std=5.0)
    moved = module.sampling(queries, reference).locations - reference[:, :, None, None]
    assert float(moved.abs().max()) <= 3.0 / 14 + 1e-6


def test_the_query_reaches_the_output_through_the_image_only() -> None:
    module = alignment()
    module.max_offset_cells = 1.0
    reference = torch.rand(1, 6, 2) * 0.2 + 0.4
    flat = torch.randn(1, 1, 1, 10).expand(1, 7, 7, 10)
    outputs = module(torch.randn(1, 6, 12), reference, flat)
    # An image that is the same everywhere gives every query the same answer: there is no residual around the attention.
    torch.testing.assert_close(outputs, outputs[:, :1].expand_as(outputs), atol=1e-5, rtol=1e-4)


def test_the_array_and_the_tensor_way_of_sampling_a_map_agree() -> None:
    rng = np.random.default_rng(0)
    feature_map = rng.normal(size=(7, 7, 5)).astype(np.float32)
    reference = rng.uniform(0.5 / 7, 1 - 0.5 / 7, (20, 2)).astype(np.float32)
    expected = torch.stack([sample(torch.from_numpy(feature_map), u, v) for u, v in reference.tolist()])
    np.testing.assert_allclose(bilinear(feature_map, reference), expected.numpy(), atol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        DeformableAlignment(query_dim=12, value_dim=10, dim=16, heads=5)
