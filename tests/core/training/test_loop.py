"""The parts that every training loop shares."""

import numpy as np
import pytest
import torch

from clar_core.training.loop import seed_step


def test_a_steps_randomness_is_that_of_its_seed_on_the_cpu_and_on_no_other_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entropy = (0, 4, 17)
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
    expected = torch.rand(8)
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    seed_step(entropy, torch.device("cpu"))
    assert torch.equal(torch.rand(8), expected)
    seed_step((0, 4, 18), torch.device("cpu"))
    assert not torch.equal(torch.rand(8), expected)
    assert asked == []
    seed_step(entropy, torch.device("cuda"))
    assert torch.equal(torch.rand(8), expected)
    assert len(asked) == 1
