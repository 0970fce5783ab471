"""The parts that any training loop here needs: schedule, parameter groups, averaged weights, resumable state."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


class TrainingError(RuntimeError):
    """A run cannot start, resume or go on. The message says why and what to do."""


def learning_rate_factor(step: int, steps: int, warmup_fraction: float, floor: float) -> float:
    """Factor on the highest rate: a linear rise over the first part, then a cosine down to ``floor``."""
    warmup = max(round(steps * warmup_fraction), 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def parameter_groups(module: nn.Module, rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups of a module's trainable parameters: decay on matrices, none on biases, norms and tokens."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and not name.endswith(("token", "_pos"))
            (matrices if decays else others).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": weight_decay, "lr": rate, "peak": rate},
        {"params": others, "weight_decay": 0.0, "lr": rate, "peak": rate},
    ]
    return [group for group in groups if group["params"]]


def seed_step(entropy: tuple[int, ...], device: torch.device) -> None:
    """Seed the randomness of one optimiser step, such as dropout's, on the device that takes it.

    On a CPU only its generator: ``torch.manual_seed`` also leaves a stack trace for every accelerator that was never
    used, at each call: 0.25 ms, where a step of a head takes four.
    """
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class AveragedWeights:
    """Exponential moving average of a model's floating-point state, running statistics included.

    The decay is smaller at first, so that the average does not remember the initialisation.

    Args:
        model: its tensors may change in place, but not be replaced.
        decay: 0 follows the model at once.
        fixed: tensors whose names begin like this never change.
    """

    def __init__(self, model: nn.Module, decay: float, *, fixed: str | None = None) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._fixed = fixed
        self._model: nn.Module | None = None

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights after optimiser step ``step``, counted from 0."""
        if self._model is not model:
            self._follow(model)
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._current, 1.0 - decay)
        for mine, theirs in self._copied:
            mine.copy_(theirs)

    def _follow(self, model: nn.Module) -> None:
        """Look the tensors up once: with a small head that would take as long as a step."""
        state = model.state_dict()
        followed = [name for name in state if self._fixed is None or not name.startswith(self._fixed)]
        floating = [name for name in followed if state[name].is_floating_point()]
        self._averaged, self._current = [self.values[n] for n in floating], [state[n] for n in floating]
        self._copied = [(self.values[n], state[n]) for n in followed if not state[n].is_floating_point()]
        self._model = model


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module,
    batches: Iterable[tuple[Any, ...]],
    forward: Callable[..., object] | None = None,
) -> None:
    """Replace the running statistics of every BatchNorm by plain averages over batches of ``forward(*batch)``.

    ``forward`` is the model when left out. Layers that it does not reach keep their statistics.

    The running averages of training lag behind the weights, and the averaged weights never had any of their own.
    Only BatchNorm layers are put in training mode. Leaves the model in evaluation mode.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    kept = [{name: value.clone() for name, value in layer.state_dict().items()} for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        for batch in batches:
            (forward or model)(*batch)
    finally:
        for layer, momentum, before in zip(layers, momenta, kept, strict=True):
            layer.momentum = momentum
            if not layer.num_batches_tracked:
                layer.load_state_dict(before)
        model.eval()


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts as one safetensors file, atomically."""
    partial = path.with_name(f".{path.name}.partial")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(contiguous, partial, metadata={"facts": json.dumps(facts)})
    os.replace(partial, path)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_state`` wrote. Raises TrainingError for a file that is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}); remove it to start the run from the beginning"
        ) from error
    return tensors, facts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class Interruption:
    """Whether Ctrl-C or a termination request has come in."""

    requested: bool = False

    def request(self, _signal: int, _frame: FrameType | None) -> None:
        """Note it. A second request acts at once."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def ignore_interruptions(_worker: int = 0) -> None:
    """For a DataLoader's workers: Ctrl-C and SIGTERM reach them too, and only their parent may decide to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred_interruption() -> Iterator[Interruption]:
    """Within the block, Ctrl-C and SIGTERM only set a flag, so that a step can end and its state be saved."""
    interruption = Interruption()
    previous = {number: signal.signal(number, interruption.request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
