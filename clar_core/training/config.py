"""What a training run is: one frozen dataclass, which the command line fills and the checkpoint's provenance keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clar_core.control.spaces import TCP_DELTA, ActionSpace
from clar_core.data.augmentation import AugmentationConfig
from clar_core.models.registry import HEADS, AnyHeadConfig, HeadName, encoder_preset, head_of
from clar_core.training.precision import Precision


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """An imitation run.

    Attributes:
        stores: directories of demonstrations; several are concatenated.
        output: directory of the run: ``best/``, ``last/``, ``state.safetensors``, ``metrics.jsonl``, ``events.*``.
        encoder: a preset of ``models.registry``.
        head: ``mlp``, the paper's, or ``diffusion``, DP3's; that of the preset when left out.
        language: condition on the instruction.
        text_encoder: how a sentence becomes a feature: ``words`` hashed, without weights; ``open_clip``, the text tower
            of a CLIP model; ``table``, one feature for each task, which knows the sentences of training only.
        text_model: name of the CLIP model in open_clip.
        text_weights: local file of its weights.
        history: observations that a decision is made from; the head's own number when left out.
        chunk: actions that are predicted at once; the head's own number when left out.
        head_norm: normalisation of the joined modalities in the head ``mlp``.
        init_from: whose weights training starts from: a policy's checkpoint, or, for the encoder alone, a checkpoint of
            ``clar pretrain``, a file of Point-MAE, or one of the weights that others published for this encoder.
        init_encoder_only: take only its encoder.
        encoder_training: ``scratch`` at the head's rate, ``finetune`` at a tenth of it, ``frozen`` at ``init_from``,
            ``frozen_random`` as a control. The features of a frozen encoder are computed once.
        cached_views: augmented copies of every step whose features are kept, for a frozen encoder.
        augmentation: how samples are varied.
        augment: False trains on the samples as stored.
        require_success: leave out episodes that failed. Relabelled rollouts are kept with False.
        samples: training samples in all.
        batch_size: samples per step.
        learning_rate: of the head, at its highest.
        warmup_fraction: part of the run over which the rate rises, before it falls as a cosine.
        final_learning_rate: at the end.
        weight_decay: decoupled, on matrices only.
        gradient_clip: largest norm of the gradient.
        ema_decay: of the averaged weights that are validated and saved; 0 saves the raw ones.
        gripper_weight: of the gripper's cross entropy in the head ``mlp``.
        validation_fraction: part of the episodes held out.
        validate_every: samples between validations.
        save_every: samples between saves of the resumable state and of ``last/``.
        keep_every: samples between checkpoints that are kept, in ``kept/<samples>/``; 0 keeps none.
        seed: of everything random.
        device: ``auto`` takes a GPU where there is one.
        precision: of the matrix products; ``auto`` takes what is faster here, bf16 only on GPUs and on CPUs with AMX or
            AVX512-BF16.
        threads: of the CPU, 0 leaves PyTorch's choice.
        workers: processes that prepare samples; 0 prepares them in the training process.
        resume: go on from ``output/state.safetensors`` if it is there.
    """

    stores: tuple[Path, ...]
    output: Path
    encoder: str = "clar_small"
    head: HeadName | None = None
    language: bool = False
    text_encoder: Literal["words", "open_clip", "table"] = "words"
    text_model: str = "ViT-B-16-quickgelu"
    text_weights: Path | None = None
    history: int | None = None
    chunk: int | None = None
    head_norm: Literal["batch", "layer"] = "batch"
    init_from: Path | None = None
    init_encoder_only: bool = False
    encoder_training: Literal["scratch", "finetune", "frozen", "frozen_random"] = "scratch"
    cached_views: int = 8
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    augment: bool = True
    require_success: bool = True
    samples: int = 200_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_fraction: float = 0.03
    final_learning_rate: float = 1e-6
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    gripper_weight: float = 0.1
    validation_fraction: float = 0.1
    validate_every: int = 10_000
    save_every: int = 10_000
    keep_every: int = 0
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    threads: int = 0
    workers: int = 0
    resume: bool = True

    def __post_init__(self) -> None:
        if not self.stores:
            raise ValueError("stores: expected at least one directory of demonstrations, got none")
        encoder_preset(self.encoder)
        for name in ("samples", "batch_size", "validate_every", "save_every", "cached_views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        self.head_config()
        if self.batch_size < 2 and self.head_norm == "batch" and self.head_name == "mlp":
            raise ValueError("batch_size: expected at least 2 with head_norm 'batch', got 1")
        for name in ("learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("warmup_fraction", "ema_decay", "validation_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a fraction in [0, 1), got {getattr(self, name)}")
        for name in (
            "final_learning_rate",
            "weight_decay",
            "gripper_weight",
            "keep_every",
            "threads",
            "workers",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.encoder_training in ("finetune", "frozen") and self.init_from is None:
            raise ValueError(
                f"encoder_training: {self.encoder_training!r} needs init_from, the checkpoint to start from"
            )
        if self.encoder_training == "frozen_random" and self.init_from is not None:
            raise ValueError("encoder_training: 'frozen_random' starts from no checkpoint; leave init_from out")
        if self.language and self.text_encoder == "open_clip" and self.text_weights is None:
            raise ValueError("text_weights: required with text_encoder 'open_clip', a local file of CLIP weights")

    @property
    def encoder_is_fixed(self) -> bool:
        """Whether the features of a cloud stay the same during training: the encoder is frozen, or there is none."""
        return self.encoder_training in ("frozen", "frozen_random") or encoder_preset(self.encoder) is None

    @property
    def head_name(self) -> HeadName:
        """The head: the one asked for, or that of the preset."""
        return self.head or head_of(self.encoder)

    def head_config(self, language_dim: int = 0, space: ActionSpace = TCP_DELTA) -> AnyHeadConfig:
        """The head's shape. Raises ValueError for a history, chunk or action space that it cannot have."""
        values: dict[str, Any] = {"language_dim": language_dim}
        if self.head_name == "mlp":
            values |= {"norm": self.head_norm, "action_space": space.name}
        elif space != TCP_DELTA:
            raise ValueError(f"head: expected mlp with demonstrations of {space.name}, got {self.head_name}")
        values |= {name: n for name in ("history", "chunk") if (n := getattr(self, name)) is not None}
        return HEADS[self.head_name](**values)

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return -(-self.samples // self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImitationConfig:
        """The configuration of :meth:`to_dict`, as a checkpoint's provenance keeps it.

        Raises:
            ValueError: a field is missing, unknown or wrong; named.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"training.{unknown[0]}: unknown field; the checkpoint is of another version: train again")
        arguments: dict[str, Any] = dict(values)
        for name in ("stores", "output"):
            if name not in values:
                raise ValueError(f"training.{name}: missing; the checkpoint is not that of a training run")
        arguments["stores"] = tuple(Path(store) for store in values["stores"])
        for name in ("output", "init_from", "text_weights"):
            if arguments.get(name) is not None:
                arguments[name] = Path(arguments[name])
        if isinstance(moves := values.get("augmentation"), Mapping):
            plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in moves.items()}
            arguments["augmentation"] = AugmentationConfig(**plain)
        return cls(**arguments)

    def recipe(self) -> dict[str, Any]:
        """The fields that decide the result; a run resumes only under the same ones."""
        head = self.head_config()
        values = self.to_dict() | {"history": head.history, "chunk": head.chunk, "head": self.head_name}
        if self.head_name == "mlp":
            del values["head"]  # runs that began before there was another head do not name theirs
        if not self.augmentation.hand_share:  # nor what they do without
            values["augmentation"] = {n: v for n, v in values["augmentation"].items() if not n.startswith("hand_")}
        for name in ("output", "validate_every", "save_every", "keep_every", "device", "threads", "workers", "resume"):
            del values[name]
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
