"""The instructions of demonstrations as features of a language-conditioned policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clar_core.data.datasets import Demonstrations
from clar_core.models.text import TextEncoder, text_encoder
from clar_core.training.config import ImitationConfig
from clar_core.training.loop import TrainingError


@dataclass(frozen=True, eq=False)
class Language:
    """What a policy is told.

    Attributes:
        features: (S, language_dim) float32, one row for each of ``Demonstrations.sentences()``.
        encoder: JSON values of the text encoder that understands other sentences too; ``None`` for a table.
    """

    features: Tensor
    encoder: dict[str, Any] | None


def instruction_features(data: Demonstrations, config: ImitationConfig) -> Language:
    """The features of all instructions.

    Raises:
        TrainingError: two tasks share a sentence.
        TextEncoderError: the text encoder's weights are missing or do not fit.
    """
    tasks, sentences = data.tasks(), data.sentences()
    task_of: dict[str, str] = {}
    for episode in data.episodes:
        known = task_of.setdefault(episode.instruction, episode.task)
        if known != episode.task:
            raise TrainingError(
                f"instruction {episode.instruction!r} belongs to task {known!r} and to {episode.task!r}, "
                "and a policy cannot tell them apart by it; give the tasks different sentences"
            )
    if config.text_encoder == "table":
        return Language(torch.eye(len(tasks))[[tasks.index(task_of[sentence]) for sentence in sentences]], None)
    encoder = _encoder(config)
    return Language(encoder.encode(sentences), encoder.to_dict())


def _encoder(config: ImitationConfig) -> TextEncoder:
    if config.text_encoder == "words":
        return text_encoder({"kind": "words"})
    return text_encoder({"kind": "open_clip", "model": config.text_model, "weights": str(config.text_weights)})
