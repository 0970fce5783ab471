"""Where training batches come from: clouds that are varied anew at every step, or features that are computed once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from clar_core.data.datasets import Batch, ImitationDataset, SampleKey, StepSampler, collate
from clar_core.models.image_encoder import ImageEncoder
from clar_core.models.policy import BasePolicy
from clar_core.training.config import ImitationConfig

_HELD_OUT = 1024
_BATCH = 64
_FIRST_VIEW = 2**40
"""Cached views draw their randomness from (seed, this + view, row): apart from any training step's."""


class Samples(Protocol):
    """Training and validation batches, and what a policy's encoder makes of one."""

    def __len__(self) -> int:
        """Steps to train on."""

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """Batches of the optimiser steps ``first`` to ``stop``: a function of (seed, step) alone."""

    def held_out(self) -> Sequence[Batch]:
        """Batches of at most 1024 held-out samples; none without held-out episodes."""

    def feature(self, policy: BasePolicy, batch: Batch) -> Tensor | None:
        """What the policy's head is given of a batch: features of its encoder; ``None`` of a blind policy."""


class CloudSamples:
    """Clouds, varied anew at every step.

    Args:
        training: varied.
        validation: as recorded.
        config: batch size, seed and number of workers.
    """

    def __init__(self, training: ImitationDataset, validation: ImitationDataset, config: ImitationConfig) -> None:
        self._training, self._config = training, config
        self._held_out = list(_in_order(validation, config, -(-len(validation) // _HELD_OUT) or 1))

    def __len__(self) -> int:
        return len(self._training)

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """See :class:`Samples`. Does not depend on the number of workers."""
        config = self._config
        sampler = StepSampler(len(self._training), config.batch_size, config.seed, first, stop)
        yield from DataLoader(self._training, batch_sampler=sampler, collate_fn=collate, num_workers=config.workers)

    def held_out(self) -> Sequence[Batch]:
        """See :class:`Samples`."""
        return self._held_out

    def feature(self, policy: BasePolicy, batch: Batch) -> Tensor | None:
        """See :class:`Samples`."""
        return policy.encode(batch.seen)


class FeatureSamples:
    """Features of a fixed encoder, of several varied copies of every step: training is then the head's alone.

    Args:
        training: varied.
        validation: as recorded.
        config: batch size, seed, number of workers and of views.
        policy: whose encoder makes the features; in evaluation mode meanwhile.
    """

    def __init__(
        self, training: ImitationDataset, validation: ImitationDataset, config: ImitationConfig, policy: BasePolicy
    ) -> None:
        self._size, self._config = len(training), config
        self._device = next(policy.parameters()).device
        policy.eval()
        with tqdm(
            total=self._size * config.cached_views, unit="sample", desc="features", disable=not sys.stderr.isatty()
        ) as bar:
            views: list[Batch] = []
            for view in range(config.cached_views):
                # images are never varied, only what comes with them is
                known = views[0].seen if views and isinstance(policy.encoder, ImageEncoder) else None
                drawn = _in_order(training, config, 1, _FIRST_VIEW + view)
                views.append(_joined([self._encoded(policy, b, bar, skip=known is not None) for b in drawn]))
                if known is not None:
                    views[-1] = views[-1]._replace(seen=known)
        self._views = Batch(*(torch.cat(parts) for parts in zip(*views, strict=True)))
        held_out = _in_order(validation, config, -(-len(validation) // _HELD_OUT) or 1)
        self._held_out = [self._encoded(policy, batch) for batch in held_out]

    def __len__(self) -> int:
        return self._size

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """See :class:`Samples`. Epochs take the views in turn, beginning elsewhere for every step."""
        config = self._config
        sampler = StepSampler(self._size, config.batch_size, config.seed, first, stop)
        an_epoch = max(self._size // config.batch_size, 1)
        for keys in sampler:
            epoch = keys[0].step // an_epoch
            rows = torch.tensor([(epoch + key.row) % config.cached_views * self._size + key.row for key in keys])
            yield Batch(*(part[rows] for part in self._views))

    def held_out(self) -> Sequence[Batch]:
        """See :class:`Samples`."""
        return self._held_out

    def feature(self, policy: BasePolicy, batch: Batch) -> Tensor | None:
        """See :class:`Samples`."""
        return None if policy.encoder is None else batch.seen

    @torch.inference_mode()
    def _encoded(
        self, policy: BasePolicy, batch: Batch, bar: tqdm[object] | None = None, *, skip: bool = False
    ) -> Batch:
        sees = policy.encoder is not None and not skip
        feature = policy.encode(batch.seen.to(self._device)) if sees else None
        if bar is not None:
            bar.update(len(batch.state))
        return batch._replace(seen=batch.state[:, :0] if feature is None else feature.float().cpu().clone())


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def _in_order(dataset: ImitationDataset, config: ImitationConfig, stride: int, step: int = 0) -> Iterator[Batch]:
    """Every ``stride``-th sample once, in order."""
    keys = [SampleKey(config.seed, step, row) for row in range(0, len(dataset), stride)]
    chunks = [keys[i : i + _BATCH] for i in range(0, len(keys), _BATCH)]
    yield from DataLoader(dataset, batch_sampler=chunks, collate_fn=collate, num_workers=config.workers)
