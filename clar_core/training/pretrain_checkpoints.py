"""Checkpoints of pre-training: a directory like a policy's, from which policies take their encoder. No pickle.

config.json           format, architecture, observation spec, teacher
model.safetensors     weights; in half precision where a checkpoint is meant to be handed on
provenance.json       data, settings, versions, figures, SHA-256 of the other files
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors

from clar_core.models.clar import Clar, ClarConfig, config_from_dict, config_to_dict
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

FORMAT = "clar-pretraining/1"
_CONFIG, _MODEL, _PROVENANCE = "config.json", "model.safetensors", "provenance.json"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pre-trained model with what it was trained on.

    Attributes:
        model: in evaluation mode, on the CPU, float32.
        config: its architecture.
        spec: the observation of its clouds; policies must have the same.
        teacher: identity of the teacher, JSON values; empty without one.
        provenance: JSON values.
    """

    model: Clar
    config: ClarConfig
    spec: ObservationSpec
    teacher: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def save_pretrained(directory: Path | str, pretrained: Pretrained, *, half: bool = False) -> None:
    """Write a checkpoint, replacing one that is there; readers see the old or the new one, whole.

    ``half`` stores float16 weights: half the size, and 3 significant digits.
    """
    config = {
        "format": FORMAT,
        "model": config_to_dict(pretrained.config),
        "observation": pretrained.spec.to_dict(),
        "teacher": pretrained.teacher,
    }
    tensors = {}
    for name, value in pretrained.model.state_dict().items():
        value = value.detach().cpu()
        tensors[name] = (value.half() if half and value.is_floating_point() else value).contiguous()
    files = {_CONFIG: to_json(config), _MODEL: save_tensors(tensors)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[_PROVENANCE] = to_json({**pretrained.provenance, "sha256": digests})
    replace_directory(Path(directory), files)


def load_pretrained(directory: Path | str) -> Pretrained:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: the directory or a file is missing, truncated, altered or malformed, or the weights do not
            belong to the architecture.
    """
    directory = Path(directory)
    complete_swap(directory)
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory}: there is no checkpoint directory here; give the path of one, or make one with "
            "`clar pretrain`"
        )
    contents = {name: read(directory / name) for name in (_CONFIG, _MODEL, _PROVENANCE)}
    provenance = parse_object(directory / _PROVENANCE, contents[_PROVENANCE])
    check_digests(directory, contents, provenance, (_CONFIG, _MODEL), _PROVENANCE)
    path = directory / _CONFIG
    config = parse_object(path, contents[_CONFIG])
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format: expected {FORMAT!r}, found {config.get('format')!r}; give a checkpoint of `clar pretrain`"
        )
    spec = parse(path, ObservationSpec.from_dict, member(path, config, "observation"))
    model_config = parse(path, config_from_dict, member(path, config, "model"))
    model = Clar(model_config)
    load_weights(directory / _MODEL, model, read_tensors(directory / _MODEL, contents[_MODEL]))
    return Pretrained(model.eval(), model_config, spec, member(path, config, "teacher"), provenance)


def is_pretrained(directory: Path | str) -> bool:
    """Whether a directory holds a checkpoint of pre-training, and not of a policy."""
    path = Path(directory) / _CONFIG
    return path.is_file() and parse_object(path, read(path)).get("format") == FORMAT
