"""Checkpoints: a directory that holds everything a policy needs to run, and where it comes from. No pickle.

config.json           format, architecture, observation spec, action, instructions it understands
model.safetensors     weights, and the instruction features of language-conditioned policies
normalizer.json       means and deviations of states and actions
provenance.json       data, git revision, calibration, figures, SHA-256 of the other files
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from clar_core.models.policy import ACTION_DIM, Policy
from clar_core.models.registry import PolicyConfig, build_policy
from clar_core.observation.spec import ObservationSpec
from clar_core.training.normalizer import Normalizer

Parsed = TypeVar("Parsed")

FORMAT = "clar-policy/1"
ACTION: dict[str, Any] = {
    "space": "tcp_delta_pose_and_gripper",
    "size": ACTION_DIM,
    "end_effector": "fr3_hand_tcp",
    "rate_hz": 10.0,
}
"""The one action of this stack (``control/action.py``); a checkpoint that states another is refused."""

CAMERAS = 1

_CONFIG, _MODEL, _NORMALIZER, _PROVENANCE = "config.json", "model.safetensors", "normalizer.json", "provenance.json"
_LANGUAGE = "instruction_features"


class CheckpointError(ValueError):
    """A checkpoint cannot be used. The message names the file, the field, what was expected and what to do."""


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

    policy: Policy
    config: PolicyConfig
    spec: ObservationSpec
    normalizer: Normalizer
    instructions: tuple[str, ...] = ()
    instruction_features: Tensor | None = None
    text_encoder: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(directory: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing one that is there; readers see the old or the new one, whole."""
    directory = Path(directory)
    config = {
        "format": FORMAT,
        "model": checkpoint.config.to_dict(),
        "observation": checkpoint.spec.to_dict(),
        "action": ACTION,
        "cameras": CAMERAS,
        "instructions": list(checkpoint.instructions),
    }
    if checkpoint.text_encoder is not None:
        config["text_encoder"] = checkpoint.text_encoder
    tensors = {f"policy.{name}": value.detach().cpu() for name, value in checkpoint.policy.state_dict().items()}
    if checkpoint.instruction_features is not None:
        tensors[_LANGUAGE] = checkpoint.instruction_features
    files = {
        _CONFIG: _json(config),
        _NORMALIZER: _json(checkpoint.normalizer.to_dict()),
        _MODEL: save_tensors({name: value.contiguous() for name, value in tensors.items()}),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[_PROVENANCE] = _json({**checkpoint.provenance, "sha256": digests})
    _replace_directory(directory, files)


def load_checkpoint(directory: Path | str) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: the directory or a file is missing, truncated, altered or malformed, or the checkpoint speaks
            of another action, number of cameras, observation or architecture than its weights or this software.
    """
    directory = Path(directory)
    _complete_swap(directory)
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory}: there is no checkpoint directory here; give the path of one, or make one with `clar train`"
        )
    contents = {name: _read(directory / name) for name in (_CONFIG, _MODEL, _NORMALIZER, _PROVENANCE)}
    provenance = _object(directory / _PROVENANCE, contents[_PROVENANCE])
    _check_digests(directory, contents, provenance)
    config = _object(directory / _CONFIG, contents[_CONFIG])
    _check_contract(directory / _CONFIG, config)
    spec = _parse(directory / _CONFIG, ObservationSpec.from_dict, _member(directory / _CONFIG, config, "observation"))
    model_config = _parse(directory / _CONFIG, PolicyConfig.from_dict, _member(directory / _CONFIG, config, "model"))
    normalizer = _parse(
        directory / _NORMALIZER, Normalizer.from_dict, _object(directory / _NORMALIZER, contents[_NORMALIZER])
    )
    instructions = config.get("instructions", [])
    if not isinstance(instructions, list) or not all(isinstance(sentence, str) for sentence in instructions):
        raise CheckpointError(
            f"{directory / _CONFIG}: instructions: expected a list of sentences, got {instructions!r}"
        )
    encoder = _member(directory / _CONFIG, config, "text_encoder") if "text_encoder" in config else None
    policy, features = _load_policy(directory / _MODEL, contents[_MODEL], model_config, len(instructions))
    return Checkpoint(policy, model_config, spec, normalizer, tuple(instructions), features, encoder, provenance)


def check_observation(checkpoint: Checkpoint, spec: ObservationSpec) -> None:
    """Refuse a checkpoint whose observation is not the running one. Raises CheckpointError naming each field."""
    if lines := checkpoint.spec.differences(spec):
        raise CheckpointError(
            "config.json: observation differs from the running one (checkpoint, running): "
            f"{'; '.join(lines)}; run with the checkpoint's spec or train with this one"
        )


def _load_policy(path: Path, content: bytes, config: PolicyConfig, sentences: int) -> tuple[Policy, Tensor | None]:
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); copy or train it again") from error
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
    weights = {name.removeprefix("policy."): value for name, value in tensors.items()}
    expected = policy.state_dict()
    if missing := sorted(set(expected) - set(weights)):
        raise CheckpointError(f"{path}: policy.{missing[0]}: missing; the weights do not belong to config.json's model")
    if unknown := sorted(set(weights) - set(expected)):
        raise CheckpointError(f"{path}: {unknown[0]}: unknown; the weights do not belong to config.json's model")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: policy.{name}: expected shape {tuple(expected[name].shape)} of config.json's model, "
                f"found {tuple(value.shape)}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: policy.{name}: holds NaN or Inf; the training diverged, use another one")
    policy.load_state_dict(weights)
    return policy.eval(), features


def _check_contract(path: Path, config: Mapping[str, Any]) -> None:
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format: expected {FORMAT!r}, found {config.get('format')!r}; "
            "use the software version that wrote it, or train again"
        )
    action = _member(path, config, "action")
    for name, expected in ACTION.items():
        if action.get(name) != expected:
            raise CheckpointError(
                f"{path}: action.{name}: this software acts with {expected!r}, the checkpoint with "
                f"{action.get(name)!r}; train a policy for this action"
            )
    if config.get("cameras") != CAMERAS:
        raise CheckpointError(
            f"{path}: cameras: this software observes with {CAMERAS}, the checkpoint with {config.get('cameras')!r}"
        )


def _check_digests(directory: Path, contents: Mapping[str, bytes], provenance: Mapping[str, Any]) -> None:
    digests = _member(directory / _PROVENANCE, provenance, "sha256")
    for name in (_CONFIG, _NORMALIZER, _MODEL):
        if digests.get(name) != hashlib.sha256(contents[name]).hexdigest():
            raise CheckpointError(
                f"{directory / name}: its SHA-256 is not the one in {_PROVENANCE} (sha256.{name}): "
                f"truncated or altered ({len(contents[name])} bytes); copy the checkpoint again"
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; copy the whole checkpoint directory") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _object(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); copy the file again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}; copy the file again")
    return value


def _member(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: {name}: expected an object, found {value!r}; copy the checkpoint again")
    return value


def _parse(path: Path, parse: Callable[[dict[str, Any]], Parsed], values: dict[str, Any]) -> Parsed:
    try:
        return parse(values)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; copy the checkpoint again or train one") from error


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _set_aside(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.old")


def _complete_swap(directory: Path) -> None:
    """A writer that died between its two renames left no directory, only the old one, set aside: put it back."""
    if not directory.exists() and _set_aside(directory).is_dir():
        _set_aside(directory).rename(directory)


def _replace_directory(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write beside the target, then swap by renaming, so that a crash leaves the old one or the new one."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = directory.with_name(f".{directory.name}.new")
    stale = _set_aside(directory)
    _complete_swap(directory)
    for leftover in (fresh, stale):
        if leftover.exists():
            shutil.rmtree(leftover)
    fresh.mkdir()
    for name, content in files.items():
        _write(fresh / name, content)
    if directory.exists():
        directory.rename(stale)
    fresh.rename(directory)
    if stale.exists():
        shutil.rmtree(stale)
