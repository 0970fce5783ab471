"""Bookkeeping of one pre-training run: metrics, validation, checkpoints and the resumable state."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from clar_core.data.pretrain import PretrainBatch, PretrainDataset, PretrainKey, collate_pretrain
from clar_core.losses import contrastive_loss
from clar_core.models.clar import Clar, ClarInputs
from clar_core.observation.spec import ObservationSpec
from clar_core.training.loop import TrainingError, load_state, optimizer_tensors, restore_optimizer, save_state
from clar_core.training.pretrain_checkpoints import Pretrained, save_pretrained
from clar_core.training.pretrain_config import PretrainConfig
from clar_core.training.pretrain_objective import PretrainLosses, local_pairs, pretrain_losses
from clar_core.training.run import software

_VALIDATION_SEED, _VALIDATION_PASSES, _VALIDATION_BATCH = 977, 4, 64
Facts = dict[str, Any]
State = tuple[dict[str, Tensor], Facts]


class PretrainRun:
    """Everything of a run that is not the optimisation itself. One process of several writes.

    Args:
        config: the run.
        spec: of the clouds.
        data: what identifies the data and the teacher; a run resumes only with the same.
        teacher: identity of the teacher.
        writes: whether this process writes files.
    """

    def __init__(
        self, config: PretrainConfig, spec: ObservationSpec, data: Facts, teacher: Facts, *, writes: bool
    ) -> None:
        self._config, self._spec, self._data, self._teacher = config, spec, data, teacher
        self._writes = writes
        self._sums: dict[str, float] = {}
        self._count = 0
        self.best = math.inf
        self.seconds = 0.0
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        if self._writes:
            self._config.output.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(self._config.output))  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()  # type: ignore[no-untyped-call]

    def due(self, every_samples: int, done: int) -> bool:
        """Whether the step just ``done`` (counted from 1) passed a multiple of ``every_samples`` samples."""
        batch = self._config.batch_size
        return done * batch // every_samples != (done - 1) * batch // every_samples

    def record_step(self, losses: PretrainLosses, gradient_norm: Tensor) -> None:
        """Add a step's figures to the averages since the last validation."""
        values = {"loss": losses.total, **losses.terms, **losses.watched, "gradient_norm": gradient_norm}
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1

    def check_finite(self, losses: PretrainLosses, batch: PretrainBatch, step: int) -> None:
        """Stop a diverged run: dump the batch, name the term.

        Raises:
            TrainingError: a term is not finite.
        """
        broken = [name for name, value in losses.terms.items() if not bool(torch.isfinite(value))]
        if not broken and bool(torch.isfinite(losses.total)):
            return
        path = self._config.output / "nan_batch.safetensors"
        if self._writes:
            save_state(path, {name: getattr(batch, name) for name in batch._fields}, {"step": step, "terms": broken})
        raise TrainingError(
            f"step {step}: the loss term {' and '.join(broken) or 'total'} is not finite; the batch is in {path}. "
            f"Lower learning_rate (now {self._config.learning_rate}) or use precision fp32, and start again in another "
            "output"
        )

    def validate(self, done: int, model: Clar, held_out: PretrainDataset, batch: PretrainBatch) -> dict[str, str]:
        """Log training averages, held-out losses and gradient norms; save ``best/``. Returns figures to show."""
        figures = {f"train/{name}": value / max(self._count, 1) for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        figures |= {f"gradient/{name}": value for name, value in gradient_norms(model, batch).items()}
        figures |= {f"scale/{name}": float(model.scale(name).detach()) for name in model.log_scales}
        device = batch.points.device
        batches = [b.to(device) for b in validation_batches(held_out)]
        figures |= {f"validation/{name}": value for name, value in validation_figures(model, batches).items()}
        samples = done * self._config.batch_size
        self._log(samples, figures)
        self._picture(samples, model, batches[0])
        if figures["validation/loss"] < self.best:
            self.best = figures["validation/loss"]
            self._save("best", model, samples, figures)
        shown = ("train/loss", "validation/loss")
        return {name: f"{figures[name]:.3f}" for name in shown if name in figures}

    def finish(self) -> None:
        """Draw ``curves.png``."""
        from clar_core.visualization.curves import loss_figure

        loss_figure(self._config.output / "metrics.jsonl").savefig(self._config.output / "curves.png", dpi=110)

    def save_last(self, done: int, model: Clar) -> None:
        """Write ``last/``, a checkpoint like any other."""
        self._save("last", model, done * self._config.batch_size, {})

    def save_state(self, done: int, model: Clar, optimizer: torch.optim.Optimizer, facts: Facts) -> None:
        """Write everything that going on from here takes."""
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in optimizer_tensors(optimizer).items()}
        state = {
            "step": done,
            "sums": self._sums,
            "count": self._count,
            "best": self.best if math.isfinite(self.best) else None,
            "seconds": self.seconds,
            **facts,
            **self._identity(),
        }
        save_state(self._config.output / "state.safetensors", tensors, state)

    def restore_state(self, model: Clar, optimizer: torch.optim.Optimizer, state: State) -> int:
        """Put back what ``save_state`` wrote; returns the number of steps done.

        Raises:
            TrainingError: the state belongs to a run with another recipe or other data.
        """
        tensors, facts = state
        for part, mine in self._identity().items():
            for name in sorted(set(mine) | set(facts[part])):
                if mine.get(name) != facts[part].get(name):
                    raise TrainingError(
                        f"{self._config.output}: {part}.{name} was {facts[part].get(name)!r} when this run began and "
                        f"is {mine.get(name)!r} now; start a run in another output, or delete this one"
                    )
        model.load_state_dict(_under("model/", tensors))
        restore_optimizer(optimizer, _under("optimizer/", tensors))
        self._sums, self._count, self.seconds = facts["sums"], facts["count"], facts["seconds"]
        self.best = math.inf if facts["best"] is None else facts["best"]
        return int(facts["step"])

    def _identity(self) -> dict[str, Facts]:
        return {"recipe": self._config.recipe(), "data": self._data}

    def _log(self, samples: int, figures: dict[str, float]) -> None:
        record = {"samples": samples, "seconds": round(self.seconds, 1)}
        with (self._config.output / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({**record, **{k: round(v, 6) for k, v in figures.items()}}) + "\n")
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, samples)  # type: ignore[no-untyped-call]

    def _picture(self, samples: int, model: Clar, batch: PretrainBatch) -> None:
        if self._writer is None or model.decoder is None:
            return
        from clar_core.visualization.reconstruction import reconstruction_figure

        self._writer.add_figure("reconstruction", reconstruction_figure(model, batch), samples)  # type: ignore[no-untyped-call]

    def _save(self, name: str, model: Clar, samples: int, figures: dict[str, float]) -> None:
        provenance = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "samples": samples,
            "seconds": round(self.seconds, 1),
            "figures": figures,
            "training": self._config.to_dict(),
            "data": self._data,
            "software": software(),
        }
        pretrained = Pretrained(model, model.config, self._spec, self._teacher, provenance)
        save_pretrained(self._config.output / name, pretrained)


def read_state(output: Path) -> State | None:
    """The state of an earlier call, or ``None``. Raises TrainingError for a file that is not whole."""
    path = output / "state.safetensors"
    return load_state(path) if path.exists() else None


def validation_batches(held_out: PretrainDataset) -> list[PretrainBatch]:
    """The same held-out samples at every call: each episode a few times, none twice in a batch."""
    batches = []
    for turn in range(_VALIDATION_PASSES):
        for start in range(0, len(held_out), _VALIDATION_BATCH):
            rows = range(start, min(start + _VALIDATION_BATCH, len(held_out)))
            if len(rows) > 1:
                batches.append(collate_pretrain([held_out[PretrainKey(_VALIDATION_SEED, turn, r)] for r in rows]))
    return batches


@torch.no_grad()
def validation_figures(model: Clar, batches: Sequence[PretrainBatch]) -> dict[str, float]:
    """Mean losses and accuracies over held-out batches, and the two controls of the local loss.

    ``local_shuffled``: the teacher's tokens shuffled over positions and images; must be at ``local_chance``.
    ``local_other_scene``: each cloud with another scene's image; must be clearly above ``local``.
    """
    training = model.training
    model.eval()
    sums: dict[str, float] = {}
    for number, batch in enumerate(batches):
        losses = pretrain_losses(model, model(batch.inputs), batch, gather=_alone)
        values = {"loss": losses.total, **losses.terms, **losses.watched}
        if "local" in losses.terms:
            values |= local_controls(model, batch, number)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    model.train(training)
    return {name: value / len(batches) for name, value in sums.items()}


@torch.no_grad()
def local_controls(model: Clar, batch: PretrainBatch, seed: int) -> dict[str, Tensor]:
    """The local loss of a batch when the image tells nothing, and when it shows another scene."""
    generator = torch.Generator().manual_seed(seed)
    maps = batch.feature_map
    flat = maps.flatten(0, 2)
    shuffled = flat[torch.randperm(len(flat), generator=generator).to(flat.device)].view_as(maps)
    results = {}
    for name, feature_map in (("shuffled", shuffled), ("other_scene", maps.roll(1, 0))):
        outputs = model(ClarInputs(batch.points, batch.mask, batch.reference, feature_map))
        assert outputs.patches is not None
        assert outputs.pixels is not None
        config = model.config
        local = local_pairs(outputs.patches, outputs.pixels, batch, config.loss, config.map_cells, _alone)
        results[f"local_{name}"] = contrastive_loss(
            local.patches,
            local.pixels,
            model.scale("local"),
            excluded=local.excluded,
            decoupled=config.loss.decoupled,
        )
    return results


def gradient_norms(model: Clar, batch: PretrainBatch) -> dict[str, float]:
    """Norm of each weighted term's gradient in the encoder's weights."""
    training = model.training
    model.eval()
    losses = pretrain_losses(model, model(batch.inputs), batch, gather=_alone)
    weights = [p for p in model.encoder.parameters() if p.requires_grad]
    norms = {}
    for name, value in losses.terms.items():
        gradients = torch.autograd.grad(
            model.config.loss.weight(name) * value, weights, retain_graph=True, allow_unused=True
        )
        norms[name] = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    model.train(training)
    return norms


def _alone(tensor: Tensor) -> Tensor:
    return tensor


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
