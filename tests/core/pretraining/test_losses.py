import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch.nn import functional as F

from clar_core.losses import chamfer_distance, contrastive_chance, contrastive_loss


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_chamfer_distance_agrees_with_a_kd_tree() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 32, 3)), rng.normal(size=(5, 40, 3))
    expected = np.mean(
        [np.mean(cKDTree(q).query(p)[0] ** 2) + np.mean(cKDTree(p).query(q)[0] ** 2) for p, q in zip(a, b, strict=True)]
    )
    found = chamfer_distance(torch.from_numpy(a), torch.from_numpy(b))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(chamfer_distance(torch.from_numpy(a), torch.from_numpy(a))) == pytest.approx(0, abs=1e-5)


def test_contrastive_loss_agrees_with_open_clip() -> None:
    from clar_core.models.vision_libraries import import_open_clip

    import_open_clip()
    from open_clip.loss import ClipLoss

    first, second, scale = unit(12, 16), unit(12, 16, seed=1), torch.tensor(14.0)
    torch.testing.assert_close(contrastive_loss(first, second, scale), ClipLoss()(first, second, scale))


def test_contrastive_loss_is_equation_4_as_a_plain_loop() -> None:
    first, second, scale = unit(6, 8), unit(6, 8, seed=1), 5.0

    def equation(decoupled: bool) -> float:
        total = 0.0
        for u, v in ((first, second), (second, first)):
            for i in range(6):
                others = [j for j in range(6) if not (decoupled and j == i)]
                denominator = sum(math.exp(float(u[i] @ v[j]) * scale) for j in others)
                total -= math.log(math.exp(float(u[i] @ v[i]) * scale) / denominator)
        return total / (2 * 6)

    for decoupled in (False, True):
        found = contrastive_loss(first, second, scale, decoupled=decoupled)
        assert float(found) == pytest.approx(equation(decoupled), rel=1e-5)


def test_samples_of_one_instruction_are_positives_of_each_other() -> None:
    text = unit(3, 8)[[0, 0, 1, 2]]
    ids = torch.tensor([0, 0, 1, 2])
    # Points that match their sentence exactly: with hard targets the twins compete, with soft ones they do not.
    hard = contrastive_loss(text, text, 100.0)
    soft = contrastive_loss(text, text, 100.0, same=ids)
    assert float(hard) == pytest.approx(math.log(2) / 2, abs=1e-3)
    assert float(soft) == pytest.approx(math.log(2) / 2, abs=1e-3)
    order = torch.tensor([1, 0, 2, 3])
    crossed = text + 0.5 * unit(4, 8, seed=3)
    crossed = F.normalize(crossed, dim=-1)
    torch.testing.assert_close(
        contrastive_loss(crossed, text, 10.0, same=ids), contrastive_loss(crossed[order], text, 10.0, same=ids)
    )


def test_excluded_pairs_are_no_negatives() -> None:
    first, second = unit(5, 8), unit(5, 8, seed=1)
    excluded = torch.zeros(5, 5, dtype=torch.bool)
    excluded[0, 1:] = True
    excluded[1:, 0] = True
    alone = contrastive_loss(first[1:], second[1:], 7.0)
    assert float(contrastive_loss(first, second, 7.0, excluded=excluded)) == pytest.approx(float(alone) * 4 / 5)


def test_chance_is_the_loss_of_features_that_tell_nothing() -> None:
    excluded = torch.rand(50, 50, generator=torch.Generator().manual_seed(0)) < 0.3
    excluded.fill_diagonal_(False)
    same = torch.ones(50, 4) / 2
    found = contrastive_loss(same, same, 3.0, excluded=excluded)
    assert float(found) == pytest.approx(float(contrastive_chance(excluded)), rel=1e-5)
