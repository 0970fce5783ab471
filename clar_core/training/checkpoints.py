"""Checkpoints: a directory that holds everything a policy needs to run, and where it comes from. No pickle.

config.json           format, architecture, observation spec, action, instructions it understands
model.safetensors     weights, and the instruction features of language-conditioned policies
normalizer.json       means and deviations of states and actions
provenance.json       data, git revision, calibration, figures, SHA-256 of the other files
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from clar_core.control.spaces import ActionSpace, action_space
from clar_core.models.policy import BasePolicy
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.observation.spec import ObservationSpec
from clar_core.training.checkpoint_files import (
    CheckpointError,
    check_digests,
    complete_swap,
    load_weights,
    member,
    parse,
    parse_object,
    read,
    read_tensors,
    replace_directory,
    to_json,
)
from clar_core.training.normalizer import Normalizer

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "check_action_space",
    "check_observation",
    "load_checkpoint",
    "save_checkpoint",
]

FORMAT = "clar-policy/1"
CAMERAS = 1

_CONFIG, _MODEL, _NORMALIZER, _PROVENANCE = "config.json", "model.safetensors", "normalizer.json", "provenance.json"
_LANGUAGE = "instruction_features"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A policy with all that is needed to run it.

    Attributes:
        policy: in evaluation mode, on the CPU, float32.
        config: its architecture.
        spec: the observation that it was trained on.
        normalizer: its units.
        instructions: the sentences it understands, in the order of ``instruction_features``; for a policy without
            language the sentences it was trained with, for information.
        instruction_features: (S, language_dim) float32, or ``None`` for a policy without language.
        text_encoder: JSON values of the encoder that made them, by which others are understood (``models/text.py``);
            ``None`` for a policy without language and for one that knows these sentences only.
        provenance: JSON values.
    """

    policy: BasePolicy
    config: PolicyConfig
    spec: ObservationSpec
    normalizer: Normalizer
    instructions: tuple[str, ...] = ()
    instruction_features: Tensor | None = None
    text_encoder: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def action_space(self) -> ActionSpace:
        """What its actions mean."""
        return action_space(self.config.head.action_space)


class Observed(Protocol):
    """A checkpoint of any kind: it was trained on some observation."""

    @property
    def spec(self) -> ObservationSpec:
        """The observation."""


def save_checkpoint(directory: Path | str, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a checkpoint, replacing one that is there; readers see the old or the new one, whole.

    ``half`` stores float16 weights: half the size, and 3 significant digits.

    Raises:
        CheckpointError: ``half``, and a weight is too large for it; named.
    """
    directory = Path(directory)
    config = {
        "format": FORMAT,
        "model": checkpoint.config.to_dict(),
        "observation": checkpoint.spec.to_dict(),
        "action": checkpoint.action_space.to_dict(),
        "cameras": CAMERAS,
        "instructions": list(checkpoint.instructions),
    }
    if checkpoint.text_encoder is not None:
        config["text_encoder"] = checkpoint.text_encoder
    tensors = {f"policy.{name}": value.detach().cpu() for name, value in checkpoint.policy.state_dict().items()}
    if half:
        tensors = {name: _halved(name, value) for name, value in tensors.items()}
    if checkpoint.instruction_features is not None:
        tensors[_LANGUAGE] = checkpoint.instruction_features
    files = {
        _CONFIG: to_json(config),
        _NORMALIZER: to_json(checkpoint.normalizer.to_dict()),
        _MODEL: save_tensors({name: value.contiguous() for name, value in tensors.items()}),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[_PROVENANCE] = to_json({**checkpoint.provenance, "sha256": digests})
    replace_directory(directory, files)


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    halved = value.half()
    if not bool(torch.isfinite(halved).all()):
        raise CheckpointError(f"{name}: holds values beyond float16's {torch.finfo(torch.half).max:g}; store it whole")
    return halved


def load_checkpoint(directory: Path | str) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: the directory or a file is missing, truncated, altered or malformed, or the checkpoint speaks
            of another action, number of cameras, observation or architecture than its weights or this software.
    """
    directory = Path(directory)
    complete_swap(directory)
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory}: there is no checkpoint directory here; give the path of one, or make one with `clar train`"
        )
    contents = {name: read(directory / name) for name in (_CONFIG, _MODEL, _NORMALIZER, _PROVENANCE)}
    provenance = parse_object(directory / _PROVENANCE, contents[_PROVENANCE])
    check_digests(directory, contents, provenance, (_CONFIG, _NORMALIZER, _MODEL), _PROVENANCE)
    config = parse_object(directory / _CONFIG, contents[_CONFIG])
    _check_contract(directory / _CONFIG, config)
    spec = parse(directory / _CONFIG, ObservationSpec.from_dict, member(directory / _CONFIG, config, "observation"))
    model_config = parse(directory / _CONFIG, PolicyConfig.from_dict, member(directory / _CONFIG, config, "model"))
    normalizer = parse(
        directory / _NORMALIZER, Normalizer.from_dict, parse_object(directory / _NORMALIZER, contents[_NORMALIZER])
    )
    _check_action(directory, config, model_config, normalizer)
    instructions = config.get("instructions", [])
    if not isinstance(instructions, list) or not all(isinstance(sentence, str) for sentence in instructions):
        raise CheckpointError(
            f"{directory / _CONFIG}: instructions: expected a list of sentences, got {instructions!r}"
        )
    encoder = member(directory / _CONFIG, config, "text_encoder") if "text_encoder" in config else None
    policy, features = _load_policy(directory / _MODEL, contents[_MODEL], model_config, len(instructions))
    return Checkpoint(policy, model_config, spec, normalizer, tuple(instructions), features, encoder, provenance)


def check_observation(checkpoint: Observed, spec: ObservationSpec) -> None:
    """Refuse a checkpoint whose observation is not the running one. Raises CheckpointError naming each field."""
    if lines := checkpoint.spec.differences(spec):
        raise CheckpointError(
            "config.json: observation differs from the running one (checkpoint, running): "
            f"{'; '.join(lines)}; run with the checkpoint's spec or train with this one"
        )


def check_action_space(checkpoint: Checkpoint, space: ActionSpace, source: Path | str = "") -> None:
    """Refuse a checkpoint whose actions mean something else. Raises CheckpointError naming both.

    Args:
        source: its directory, for the message.
    """
    if checkpoint.action_space != space:
        raise CheckpointError(
            f"{Path(source) / _CONFIG}: action.space: expected {space.name}, the checkpoint's is "
            f"{checkpoint.action_space.name}; policies of keyframes are run by `clar eval rlbench`, those of steps by "
            "the policy node, `clar eval cell` and `clar eval metaworld`"
        )


def _check_action(
    directory: Path, config: Mapping[str, Any], model_config: PolicyConfig, normalizer: Normalizer
) -> None:
    path = directory / _CONFIG
    action = member(path, config, "action")
    try:
        space = action_space(action.get("space"))
    except ValueError as error:
        raise CheckpointError(f"{path}: action.space: {error}; train a policy for one of these") from error
    for name, expected in space.to_dict().items():
        if action.get(name) != expected:
            raise CheckpointError(
                f"{path}: action.{name}: this software acts with {expected!r}, the checkpoint with "
                f"{action.get(name)!r}; train a policy for this action"
            )
    if model_config.head.action_space != space.name:
        raise CheckpointError(
            f"{path}: model.head.action_space: expected {space.name!r}, as in action.space, found "
            f"{model_config.head.action_space!r}; copy the checkpoint again"
        )
    if len(normalizer.action_mean) != space.size - 1:
        raise CheckpointError(
            f"{directory / _NORMALIZER}: action_mean: expected {space.size - 1} numbers of {space.name}, found "
            f"{len(normalizer.action_mean)}; copy the checkpoint again"
        )


def _load_policy(path: Path, content: bytes, config: PolicyConfig, sentences: int) -> tuple[BasePolicy, Tensor | None]:
    tensors = read_tensors(path, content)
    features = tensors.pop(_LANGUAGE, None)
    if (features is None) != (config.head.language_dim == 0):
        found = "no" if features is None else "a"
        raise CheckpointError(
            f"{path}: {_LANGUAGE}: found {found} tensor, but model.head.language_dim is {config.head.language_dim}"
        )
    if features is not None and features.shape != (sentences, config.head.language_dim):
        raise CheckpointError(
            f"{path}: {_LANGUAGE}: expected shape {(sentences, config.head.language_dim)} "
            f"(instructions in config.json, model.head.language_dim), found {tuple(features.shape)}"
        )
    policy = build_policy(config)
    load_weights(path, policy, tensors, prefix="policy.")
    return policy.eval(), features


def _check_contract(path: Path, config: Mapping[str, Any]) -> None:
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format: expected {FORMAT!r}, found {config.get('format')!r}; "
            "use the software version that wrote it, or train again"
        )
    if config.get("cameras") != CAMERAS:
        raise CheckpointError(
            f"{path}: cameras: this software observes with {CAMERAS}, the checkpoint with {config.get('cameras')!r}"
        )
