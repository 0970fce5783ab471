"""What a pre-training run is: one frozen dataclass, which the command line fills and checkpoints keep."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clar_core.data.pretrain import CloudAugmentation
from clar_core.models.clar import LossConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.masked_autoencoder import DecoderConfig
from clar_core.models.registry import PRESETS
from clar_core.models.teachers import TeacherConfig
from clar_core.training.precision import Precision


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pre-training run.

    Attributes:
        views: set of posed RGB-D views, as `clar data views` makes it.
        output: directory of the run: ``best/``, ``last/``, ``state.safetensors``, ``metrics.jsonl``, ``events.*``.
        encoder: the encoder.
        decoder: of the masked autoencoder.
        loss: the terms of Eq. 7; every row of the paper's ablation is a field of it.
        teacher: where image and text features come from.
        augmentation: how clouds are varied.
        augment: False trains on the clouds as stored.
        fused: share of samples whose cloud is that of all cameras of the instant together.
        mask_ratio: share of patches hidden from the masked autoencoder; the paper allows 0.6 to 0.8.
        patch_radius: in network units, what reconstruction targets are divided by; 0 measures the data's median, 1
            leaves the targets raw.
        subtract_map_mean: subtract the mean of the teacher's map at each position of a fixed camera. Without it the
            local loss can be lowered by position alone.
        map_dim: principal directions of the teacher's map that are stored; 0 stores it whole.
        occlusion_m: a patch centre this far behind the image's own depth is occluded.
        init_from: file of a published Point-MAE checkpoint, or directory of one of ours, whose weights training starts
            from.
        samples: training samples in all.
        batch_size: samples per step, of all processes together; each from another episode.
        learning_rate: at its highest.
        warmup_fraction: part of the run over which the rate rises, before it falls as a cosine.
        final_learning_rate: at the end.
        weight_decay: decoupled, on matrices only.
        gradient_clip: largest norm of the gradient.
        freeze_batch_norm: use the running statistics in training, too. Several processes then do what one does.
        validation_fraction: part of the episodes held out.
        validate_every: samples between validations.
        save_every: samples between saves of the resumable state and of ``last/``.
        seed: of everything random.
        device: ``auto`` takes a GPU where there is one.
        precision: of the matrix products; ``auto`` measures a training step in both and takes the faster.
        threads: of the CPU, 0 leaves PyTorch's choice.
        workers: processes that prepare samples; 0 prepares them in the training process.
        resume: go on from ``output/state.safetensors`` if it is there.
        stop_after_s: end in good order after this long, as Ctrl-C would; the same command goes on. 0 never does.
    """

    views: Path = Path("outputs/data/views")
    output: Path = Path("outputs/pretraining")
    encoder: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    augmentation: CloudAugmentation = field(default_factory=CloudAugmentation)
    augment: bool = True
    fused: float = 0.5
    mask_ratio: float = 0.6
    patch_radius: float = 0.0
    subtract_map_mean: bool = True
    map_dim: int = 256
    occlusion_m: float = 0.02
    init_from: Path | None = None
    samples: int = 3_000_000
    batch_size: int = 256
    learning_rate: float = 1e-3
    warmup_fraction: float = 0.03
    final_learning_rate: float = 1e-6
    weight_decay: float = 0.05
    gradient_clip: float = 10.0
    freeze_batch_norm: bool = False
    validation_fraction: float = 0.1
    validate_every: int = 50_000
    save_every: int = 50_000
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "auto"
    threads: int = 0
    workers: int = 0
    resume: bool = True
    stop_after_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("samples", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size: expected at least 2 samples to contrast, got {self.batch_size}")
        for name in ("learning_rate", "gradient_clip", "occlusion_m"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio: expected a fraction in (0, 1), got {self.mask_ratio}")
        for name in ("warmup_fraction", "validation_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a fraction in [0, 1), got {getattr(self, name)}")
        if not 0 <= self.fused <= 1:
            raise ValueError(f"fused: expected a probability, got {self.fused}")
        for name in ("final_learning_rate", "weight_decay", "patch_radius", "map_dim", "threads", "workers", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return -(-self.samples // self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    def recipe(self) -> dict[str, Any]:
        """The fields that decide the result; a run resumes only under the same ones."""
        values = self.to_dict()
        for name in (
            "views", "output", "validate_every", "save_every", "device", "precision", "threads", "workers", "resume",
            "stop_after_s",
        ):  # fmt: skip
            del values[name]
        values["teacher"] = {name: values["teacher"][name] for name in ("kind", "clip_model")}
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _encoder(name: str) -> PointEncoderConfig:
    encoder = PRESETS[name]
    assert isinstance(encoder, PointEncoderConfig)
    return encoder


PRETRAIN_PRESETS: dict[str, tuple[str, PretrainConfig]] = {
    "paper": ("the paper's: 12 blocks of 384, 1024 points; for GPUs", PretrainConfig()),
    "small": (
        "6 blocks of 192 (the encoder preset clar_cpu); for one CPU core in half an hour",
        PretrainConfig(
            encoder=_encoder("clar_cpu"),
            loss=LossConfig(local_queries=2048),
            samples=36_000,
            batch_size=32,
            validate_every=3_600,
            save_every=3_600,
            threads=1,
            workers=1,
        ),
    ),
}
"""Runs by name: what they are for, and their configuration."""
