"""The maximum over points has PyTorch's value and gradient."""

from __future__ import annotations

import pytest
import torch

from clar_core.models.pooling import max_over


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "dim"), [((7, 16, 24), 1), ((3, 5, 16, 8), 2), ((4, 9), -1)])
def test_value_and_gradient_are_those_of_amax_ties_included(dtype, shape, dim):
    generator = torch.Generator().manual_seed(0)
    # A grid of few values, so that most maxima are shared.
    plain = torch.randint(-3, 3, shape, generator=generator).to(dtype).requires_grad_()
    ours = plain.detach().clone().requires_grad_()
    expected, found = plain.amax(dim), max_over(ours, dim)
    gradient = torch.randn(expected.shape, generator=generator).to(dtype)
    expected.backward(gradient)
    found.backward(gradient)
    assert torch.equal(expected, found)
    assert torch.equal(plain.grad, ours.grad)


def test_without_a_gradient_nothing_is_kept_of_it():
    x = torch.randn(4, 8, 3, requires_grad=True)
    with torch.no_grad():
        assert max_over(x, 1).grad_fn is None
    assert not max_over(x.detach(), 1).requires_grad


def test_its_gradient_agrees_with_finite_differences():
    x = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: max_over(values, 1), (x,))
