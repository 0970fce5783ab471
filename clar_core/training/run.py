"""Bookkeeping of one imitation run: metrics, validation, checkpoints and the resumable state."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

import clar_core
from clar_core.control.spaces import ActionSpace
from clar_core.data.datasets import Batch, Demonstrations
from clar_core.losses import PolicyLoss, pose_errors
from clar_core.models.policy import BasePolicy
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.language import Language
from clar_core.training.loop import (
    AveragedWeights,
    TrainingError,
    load_state,
    optimizer_tensors,
    reestimate_batch_norm,
    restore_optimizer,
    save_state,
)
from clar_core.training.normalizer import Normalizer
from clar_core.training.precision import Precision, faster_precision
from clar_core.training.run_directory import write_instructions
from clar_core.training.samples import Samples


class ImitationRun:
    """Everything of a run that is not the optimisation itself.

    Args:
        config: the run.
        data: its demonstrations.
        normalizer: its units.
        model_config: its architecture.
        language: sentences and features of a language-conditioned policy.
    """

    def __init__(
        self,
        config: ImitationConfig,
        data: Demonstrations,
        normalizer: Normalizer,
        model_config: PolicyConfig,
        language: Language | None,
    ) -> None:
        self._config = config
        self._data = data
        self._normalizer = normalizer
        self._model_config = model_config
        self._language = language
        self._sums = torch.zeros(5)
        self._count = 0
        self._best = float("inf")
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        self._writer = SummaryWriter(str(self._config.output))  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()  # type: ignore[no-untyped-call]

    @property
    def precision(self) -> Precision:
        """Of the matrix products: the one asked for, restored or chosen."""
        return self._config.precision

    def choose_precision(self, policy: BasePolicy, samples: Samples) -> None:
        """Measure a training step where the precision was left open; before the first step of a run."""
        if self._config.precision != "auto":
            return
        device = next(policy.parameters()).device
        batch = next(iter(samples.batches(0, 1))).to(device)
        chosen = faster_precision(policy, lambda: self.loss(policy, batch, samples).total, device)
        self._config = replace(self._config, precision=chosen)

    @property
    def action_space(self) -> ActionSpace:
        """What the demonstrations' actions mean."""
        return self._data.action_space

    def language_of(self, batch: Batch) -> Tensor | None:
        """Instruction features (B, language_dim) of a batch; ``None`` for a policy without language."""
        if self._language is None:
            return None
        return self._language.features.to(batch.sentence.device)[batch.sentence]

    def loss(self, policy: BasePolicy, batch: Batch, samples: Samples) -> PolicyLoss:
        """The policy's loss on a batch of ``samples``."""
        return policy.loss(
            samples.feature(policy, batch),
            batch.state,
            batch.action,
            self.language_of(batch),
            gripper_weight=self._config.gripper_weight,
        )

    def due(self, every_samples: int, done: int) -> bool:
        """Whether the step just ``done`` (counted from 1) passed a multiple of ``every_samples`` samples."""
        batch = self._config.batch_size
        return done * batch // every_samples != (done - 1) * batch // every_samples

    def record_step(self, loss: PolicyLoss, gradient_norm: Tensor) -> None:
        """Add a step's losses to the averages since the last validation."""
        self._sums += torch.stack([*loss, gradient_norm]).detach().cpu()
        self._count += 1

    @torch.no_grad()
    def validate(self, done: int, averaged: AveragedWeights, samples: Samples) -> dict[str, str]:
        """Log training averages and validation losses; save ``best/`` where they improve. Returns figures to show."""
        means = (self._sums / max(self._count, 1)).tolist()
        names = ("loss", "translation", "rotation", "gripper", "gradient_norm")
        figures = {f"train/{name}": value for name, value in zip(names, means, strict=True)}
        self._sums.zero_()
        self._count = 0
        policy = self._policy_of(averaged.values)
        if samples.held_out():
            figures |= self._validation(policy, samples)
        seen = done * self._config.batch_size
        self._log(seen, figures)
        score = figures.get("validation/loss", -float(done))
        if score < self._best:
            self._best = score
            self._save("best", policy, seen, figures)
        return {name: f"{figures[name]:.3f}" for name in ("train/loss", "validation/loss") if name in figures}

    def save_last(self, done: int, averaged: AveragedWeights) -> None:
        """Write ``last/``, a checkpoint like any other."""
        self._save("last", self._policy_of(averaged.values), done * self._config.batch_size, {})

    def keep(self, done: int, averaged: AveragedWeights) -> None:
        """Write ``kept/<samples>/``."""
        samples = done * self._config.batch_size
        self._save(f"kept/{samples:08d}", self._policy_of(averaged.values), samples, {})

    def finish(self, samples: Samples, batches: Sequence[Batch]) -> Path:
        """Re-estimate the running statistics of ``best/`` and ``last/`` and tell how to go on; returns the former."""
        for name in ("last", "best"):
            directory = self._config.output / name
            checkpoint = load_checkpoint(directory)

            def forward(batch: Batch, policy: BasePolicy = checkpoint.policy) -> PolicyLoss:
                return self.loss(policy, batch, samples)

            reestimate_batch_norm(checkpoint.policy, ((batch,) for batch in batches), forward)
            save_checkpoint(directory, checkpoint)
        write_instructions(self._config.output, checkpoint)
        return self._config.output / "best"

    def save_state(
        self, path: Path, done: int, policy: BasePolicy, averaged: AveragedWeights, optimizer: torch.optim.Optimizer
    ) -> None:
        """Write everything that going on from here takes."""
        tensors = {f"policy/{name}": value for name, value in policy.state_dict().items()}
        tensors |= {f"averaged/{name}": value for name, value in averaged.values.items()}
        tensors |= {f"optimizer/{name}": value for name, value in optimizer_tensors(optimizer).items()}
        tensors["sums"] = self._sums
        facts = {"step": done, "count": self._count, "best": self._best, **self._identity()}
        save_state(path, tensors, facts)

    def restore_state(
        self, path: Path, policy: BasePolicy, averaged: AveragedWeights, optimizer: torch.optim.Optimizer
    ) -> int:
        """Put back what ``save_state`` wrote; returns the number of steps done.

        Raises:
            TrainingError: the state is not whole, or belongs to a run with another recipe or other data.
        """
        tensors, facts = load_state(path)
        if self._config.precision == "auto":  # measured when the run began
            self._config = replace(self._config, precision=facts["recipe"]["precision"])
        for part, mine in self._identity().items():
            theirs = facts[part]
            for name in sorted(set(mine) | set(theirs)):
                if mine.get(name) != theirs.get(name):
                    raise TrainingError(
                        f"{path}: {part}.{name} was {theirs.get(name)!r} when this run began and is {mine.get(name)!r} "
                        "now; start a run in another output, or delete this one"
                    )
        policy.load_state_dict(_under("policy/", tensors))
        for name, value in _under("averaged/", tensors).items():
            averaged.values[name].copy_(value)
        restore_optimizer(optimizer, _under("optimizer/", tensors))
        self._sums, self._count, self._best = tensors["sums"], facts["count"], facts["best"]
        return int(facts["step"])

    def _identity(self) -> dict[str, dict[str, Any]]:
        return {"recipe": self._config.recipe(), "data": self._data.fingerprints}

    def _policy_of(self, values: dict[str, Tensor]) -> BasePolicy:
        policy = build_policy(self._model_config)
        policy.load_state_dict(values)
        device = next(iter(values.values())).device
        return policy.to(device).eval()

    def _validation(self, policy: BasePolicy, samples: Samples) -> dict[str, float]:
        device = next(policy.parameters()).device
        batches = samples.held_out()
        losses: list[Tensor] = []
        outputs: list[Tensor] = []
        # The same noise at every validation: a head with randomness would else be chosen by its luck.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self._config.seed)
            for batch in (batch.to(device) for batch in batches):
                feature, language = samples.feature(policy, batch), self.language_of(batch)
                terms = policy.loss(
                    feature, batch.state, batch.action, language, gripper_weight=self._config.gripper_weight
                )
                losses.append(torch.stack(terms).cpu() * len(batch.state))
                outputs.append(policy.decide(feature, batch.state, language).float().cpu())
        predicted = torch.cat(outputs)
        target = torch.cat([batch.action for batch in batches])
        near = torch.cat([batch.at_switch for batch in batches])
        space = self._data.action_space
        loss = PolicyLoss(*torch.stack(losses).sum(0) / len(target))
        std = torch.from_numpy(self._normalizer.action_std)
        if self._model_config.head.chunk > 1:
            # The loss is that of whole chunks; errors that people compare are those of the action that is due.
            predicted, target = predicted[:, 0], target[:, 0]
        distances, angles = pose_errors(predicted, target, std, space)
        right = (predicted[:, -1] > 0) == (target[:, -1] > 0.5)
        figures = {
            "loss": loss.total,
            "translation": loss.translation,
            "rotation": loss.rotation,
            "gripper": loss.gripper,
            "translation_mm": distances.mean() * 1e3,
            "rotation_mrad": angles.mean() * 1e3,
            "gripper_accuracy": right.float().mean(),
        }
        if near.any():
            figures["gripper_accuracy_at_switch"] = right[near].float().mean()
        return {f"validation/{name}": float(value) for name, value in figures.items()}

    def _log(self, samples: int, figures: dict[str, float]) -> None:
        with (self._config.output / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"samples": samples, **{k: round(v, 6) for k, v in figures.items()}}) + "\n")
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, samples)  # type: ignore[no-untyped-call]

    def _save(self, name: str, policy: BasePolicy, samples: int, figures: dict[str, float]) -> None:
        language = self._language
        checkpoint = Checkpoint(
            policy,
            self._model_config,
            self._data.spec,
            self._normalizer,
            self._data.sentences(),
            None if language is None else language.features,
            None if language is None else language.encoder,
            {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "samples": samples,
                "figures": figures,
                "tasks": list(self._data.tasks()),
                "training": self._config.to_dict(),
                "data": {
                    "stores": self._data.fingerprints,
                    "episodes": len(self._data.episodes),
                    "calibrations": sorted(
                        {str(e.info["calibration"]) for e in self._data.episodes if "calibration" in e.info}
                    ),
                },
                "software": software(),
            },
        )
        save_checkpoint(self._config.output / name, checkpoint)


def software() -> dict[str, str]:
    """Versions that a result depends on; the git revision of the code where it runs from a repository."""
    return {
        "clar": clar_core.__version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@functools.cache
def _git_revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
