"""Checkpoint directories on disk: read whole or refused by name, written in one step. No pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

Parsed = TypeVar("Parsed")


class CheckpointError(ValueError):
    """A checkpoint cannot be used. The message names the file, the field, what was expected and what to do."""


def check_digests(
    directory: Path,
    contents: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    names: Sequence[str],
    provenance_name: str,
) -> None:
    """Compare the files of these names with the SHA-256 that the provenance states for them."""
    digests = member(directory / provenance_name, provenance, "sha256")
    for name in names:
        if digests.get(name) != hashlib.sha256(contents[name]).hexdigest():
            raise CheckpointError(
                f"{directory / name}: its SHA-256 is not the one in {provenance_name} (sha256.{name}): "
                f"truncated or altered ({len(contents[name])} bytes); copy the checkpoint again"
            )


def read(path: Path) -> bytes:
    """The content of a file of a checkpoint."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; copy the whole checkpoint directory") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object that a file holds."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); copy the file again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}; copy the file again")
    return value


def member(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of this name in the JSON object of a file."""
    value = values.get(name)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: {name}: expected an object, found {value!r}; copy the checkpoint again")
    return value


def parse(path: Path, parse: Callable[[dict[str, Any]], Parsed], values: dict[str, Any]) -> Parsed:
    """What a function makes of the values of a file; its ValueError becomes a CheckpointError."""
    try:
        return parse(values)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; copy the checkpoint again or train one") from error


def read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); copy or train it again") from error


def load_weights(path: Path, module: nn.Module, weights: Mapping[str, Tensor], prefix: str = "") -> None:
    """Load the weights of a file into a module whose own they must be, by name and shape, all finite.

    ``prefix`` is what the file puts before the module's own names; messages show the file's.
    """
    expected = {prefix + name: value for name, value in module.state_dict().items()}
    for found, names in (("missing", set(expected) - set(weights)), ("unknown", set(weights) - set(expected))):
        if names:
            raise CheckpointError(f"{path}: {min(names)}: {found}; the weights do not belong to config.json's model")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name}: expected shape {tuple(expected[name].shape)} of config.json's model, "
                f"found {tuple(value.shape)}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name}: holds NaN or Inf; the training diverged, use another one")
    module.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})


def to_json(values: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file."""
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _set_aside(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.old")


def complete_swap(directory: Path) -> None:
    """A writer that died between its two renames left no directory, only the old one, set aside: put it back."""
    if not directory.exists() and _set_aside(directory).is_dir():
        _set_aside(directory).rename(directory)


def replace_directory(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write beside the target, then swap by renaming, so that a crash leaves the old one or the new one."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = directory.with_name(f".{directory.name}.new")
    stale = _set_aside(directory)
    complete_swap(directory)
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


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint's files; a crash leaves the target as it was or as it shall be."""
    replace_directory(target, {path.name: read(path) for path in sorted(source.iterdir()) if path.is_file()})
