"""The precision that a run takes where it was left open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from clar_core.models import registry
from clar_core.training import precision as module
from clar_core.training.checkpoints import load_checkpoint
from clar_core.training.imitation import train_imitation
from tests.core.training.policies import TINY
from tests.core.training.test_imitation import config, interrupt_after, weights

CPU = torch.device("cpu")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "emulates_bf16", lambda device: False)


def clock(monkeypatch: pytest.MonkeyPatch, *durations: float) -> None:
    """Steps that take these times, in turn."""

    def times() -> Iterator[float]:
        now = 0.0
        while True:
            for duration in durations:
                yield now
                now += duration
                yield now

    monkeypatch.setattr(module.time, "perf_counter", times().__next__)


@pytest.mark.parametrize(("durations", "faster"), [((1.0, 2.0), "fp32"), ((2.0, 1.0), "bf16")])
def test_the_faster_one_is_taken_and_the_module_left_as_it_was(
    native: None, monkeypatch: pytest.MonkeyPatch, durations: tuple[float, ...], faster: str
) -> None:
    clock(monkeypatch, *durations)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen: list[torch.dtype] = []

    def loss() -> torch.Tensor:
        value = network(torch.rand(8, 3))
        seen.append(value.dtype)
        return value.float().square().mean()

    assert module.faster_precision(network, loss, CPU) == faster
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [part.training for part in network] == [True, False, True]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_processor_without_bf16_is_not_measured_and_who_asks_for_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert module.faster_precision(nn.Linear(1, 1), lambda: pytest.fail("measured"), CPU) == "fp32"
    assert "emulated on this processor (AVX2)" in module.remark_on_precision("bf16", CPU)
    assert module.remark_on_precision("fp32", CPU) == ""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert module.remark_on_precision("bf16", CPU) == ""


def test_a_run_that_goes_on_keeps_the_precision_that_it_began_with(
    native: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.PRESETS, "tiny", TINY)
    run = config(tmp_path, samples=40, precision="auto")
    clock(monkeypatch, 2.0, 1.0)
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train_imitation(run)
    clock(monkeypatch, 1.0, 2.0)
    train_imitation(run)
    assert load_checkpoint(tmp_path / "run" / "last").provenance["training"]["precision"] == "bf16"
    train_imitation(replace(run, output=tmp_path / "whole", precision="bf16"))
    resumed, whole = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
