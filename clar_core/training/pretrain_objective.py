"""The losses of pre-training (CLAR Eqs. 1-7) over a global batch, in one process or many.

Contrasts need negatives, so features are gathered from all processes, with their gradients. Every process then computes
the same loss of the whole batch; DDP's average of the gradients is that loss's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from clar_core.data.pretrain import PretrainBatch
from clar_core.losses import contrastive_chance, contrastive_loss
from clar_core.models.clar import Clar, ClarOutputs, LossConfig

Gather = Callable[[Tensor], Tensor]


class PretrainLosses(NamedTuple):
    """What a step minimises, and what is worth watching.

    Attributes:
        total: scalar, Eq. 7.
        terms: scalars by name (mae, image, text, local), not weighted.
        watched: scalars by name: retrieval accuracies, chance level of the local term, how many patches entered it.
    """

    total: Tensor
    terms: dict[str, Tensor]
    watched: dict[str, Tensor]


def gather_with_gradients(tensor: Tensor) -> Tensor:
    """Rows of all processes, this one's gradients flowing back; the tensor itself in a single process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return tensor
    if tensor.requires_grad:
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(tensor.contiguous()))  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def pretrain_losses(
    model: Clar,
    outputs: ClarOutputs,
    batch: PretrainBatch,
    *,
    gather: Gather = gather_with_gradients,
    watch: bool = True,
) -> PretrainLosses:
    """Losses of a batch.

    Args:
        model: for its configuration and temperatures.
        outputs: of the model on this process's part of the batch.
        batch: this process's part.
        gather: puts the parts of all processes together.
        watch: False leaves ``watched`` empty.
    """
    config = model.config.loss
    terms: dict[str, Tensor] = {}
    watched: dict[str, Tensor] = {}
    if outputs.reconstruction is not None:
        terms["mae"] = outputs.reconstruction
    if outputs.feature is not None:
        feature = gather(outputs.feature)
        instruction = gather(batch.instruction)
        for name, teacher in (("image", batch.image), ("text", batch.text)):
            if getattr(config, name):
                other = gather(teacher)
                same = instruction if name == "text" and config.soft_positives else None
                terms[name] = contrastive_loss(feature, other, model.scale(name), same=same, decoupled=config.decoupled)
                positives = instruction if name == "text" else torch.arange(len(feature), device=feature.device)
                if watch:
                    watched[f"{name}_retrieval"] = retrieval_accuracy(feature, other, positives)
    if outputs.patches is not None and outputs.pixels is not None:
        local = local_pairs(outputs.patches, outputs.pixels, batch, config, model.config.map_cells, gather)
        terms["local"] = contrastive_loss(
            local.patches, local.pixels, model.scale("local"), excluded=local.excluded, decoupled=config.decoupled
        )
        if watch:
            watched["local_chance"] = contrastive_chance(local.excluded)
            watched["local_queries"] = torch.tensor(float(len(local.patches)))
            watched["local_retrieval"] = local_accuracy(local)
    total = torch.stack([config.weight(name) * value for name, value in terms.items()]).sum()
    return PretrainLosses(total, terms, {name: value.detach() for name, value in watched.items()})


class LocalPairs(NamedTuple):
    """Both sides of Eq. 6: (N, local_dim) each, and (N, N) bool of pairs that are no negatives."""

    patches: Tensor
    pixels: Tensor
    excluded: Tensor


def local_pairs(
    patches: Tensor, pixels: Tensor, batch: PretrainBatch, config: LossConfig, cells: int, gather: Gather
) -> LocalPairs:
    """The patches that enter the local loss, from all processes: valid ones, by smallest priority.

    Args:
        patches, pixels: (B, G, local_dim) of unit length.
        batch: for which of them are valid, where they are and what the teacher sees there.
        config: how many, and which pairs are no negatives.
        cells: side of the teacher's map.
        gather: puts the parts of all processes together.
    """
    groups = patches.shape[1]
    valid, priority = gather(batch.valid.to(torch.uint8)).bool().flatten(), gather(batch.priority).flatten()
    rows = valid.nonzero().squeeze(1)
    if len(rows) > config.local_queries:
        rows = rows[priority[rows].argsort()[: config.local_queries]]
    chosen_patches, chosen_pixels = gather(patches).flatten(0, 1)[rows], gather(pixels).flatten(0, 1)[rows]
    image = rows // groups
    where = gather(batch.reference).flatten(0, 1)[rows] * cells
    teacher = torch.nn.functional.normalize(gather(batch.teacher_at).flatten(0, 1)[rows], dim=-1)
    same_image = image[:, None] == image[None]
    near = same_image & (torch.cdist(where, where) < config.exclude_cells)
    alike = ~same_image & (teacher @ teacher.T > config.exclude_cosine)
    excluded = near | alike
    excluded.fill_diagonal_(False)
    return LocalPairs(chosen_patches, chosen_pixels, excluded)


@torch.no_grad()
def retrieval_accuracy(first: Tensor, second: Tensor, ids: Tensor) -> Tensor:
    """Share of rows of ``first`` (N, D) whose most similar row of ``second`` (N, D) has the same id (N,)."""
    best = (first.float() @ second.float().T).argmax(1)
    return (ids[best] == ids).float().mean()


@torch.no_grad()
def local_accuracy(local: LocalPairs) -> Tensor:
    """Share of patches whose own image feature is the most similar among the candidates."""
    similarity = (local.patches @ local.pixels.T).masked_fill(local.excluded, float("-inf"))
    return (similarity.argmax(1) == torch.arange(len(similarity), device=similarity.device)).float().mean()
