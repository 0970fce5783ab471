"""Sentences to features, behind one interface: what a language-conditioned policy is told.

A policy may also be given a plain table, which knows the sentences of training and nothing else. These two understand
others: words that are hashed, without weights, and the text tower of a CLIP model from a local file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are at be by for from in into is it its me of off on onto or out over please so some should that the "
        "then there this to up use with",
    )
)


class TextEncoderError(ValueError):
    """Sentences cannot be encoded: weights are missing or do not fit. The message says what to do."""


class TextEncoder(Protocol):
    """Sentences to rows of unit length.

    Attributes:
        dim: width of a feature.
    """

    dim: int

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Features (S, dim) float32 of unit length."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which :func:`text_encoder` makes it again."""


class HashedWords:
    """Words and their trigrams, hashed to signed places of a vector; no weights.

    Sentences that share words have similar features, so a policy understands new ones made of known words. Synonyms are
    strangers to it. Weinberger et al., ICML 2009.
    """

    def __init__(self, dim: int = 256) -> None:
        self.dim = dim

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """See :class:`TextEncoder`. Raises TextEncoderError for a sentence without a word that says anything."""
        rows = torch.zeros(len(sentences), self.dim)
        for row, sentence in zip(rows, sentences, strict=True):
            words = [w for w in re.findall(r"[\w']+", sentence.lower()) if w not in _STOP_WORDS]
            if not words:
                raise TextEncoderError(f"instruction {sentence!r}: expected a word that says what to do, found none")
            for word in words:
                padded = f"^{word}$"
                trigrams = [padded[i : i + 3] for i in range(len(padded) - 2)]
                for part, weight in ((word, 1.0), *((t, 0.5 / len(trigrams)) for t in trigrams)):
                    digest = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest())
                    row[digest % self.dim] += weight if digest >> 63 else -weight
        return F.normalize(rows, dim=1)

    def to_dict(self) -> dict[str, Any]:
        """See :class:`TextEncoder`."""
        return {"kind": "words", "dim": self.dim}


def text_encoder(values: Mapping[str, Any]) -> TextEncoder:
    """The encoder of ``to_dict``.

    Raises:
        TextEncoderError: an unknown kind, or weights that are not there.
    """
    kind = values.get("kind")
    if kind == "words":
        return HashedWords(int(values.get("dim", 256)))
    if kind == "open_clip":
        from clar_core.models.open_clip_text import OpenClipText

        return OpenClipText(str(values["model"]), str(values["weights"]))
    raise TextEncoderError(f"text_encoder.kind: expected 'words' or 'open_clip', got {kind!r}")
