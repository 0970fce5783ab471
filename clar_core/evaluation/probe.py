"""A probe of encoders without a robot: what can be read out of frozen features on scenes new to every encoder?

Every scene holds one object. Two read-outs are trained on each encoder's features and judged on other scenes: a linear
one on the global feature, and an attentive one, a few learned queries over the patch tokens with their centres. Scenes
of object classes that pre-training never saw are judged apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.data.views import Views
from clar_core.models.encoder import PointEncoder, PointFeatures
from clar_core.observation.builder import build_network_points

Target = Literal["position", "class", "gripper"]
Readout = Literal["linear", "attentive"]
TARGETS: tuple[Target, ...] = ("position", "class", "gripper")
READOUTS: tuple[Readout, ...] = ("linear", "attentive")
UNITS: dict[Target, str] = {"position": "mm", "class": "%", "gripper": "mm"}
_RIDGE = tuple(10.0**e for e in range(-4, 5))
_BATCH, _RESAMPLES = 32, 2000
_QUERIES, _EPOCHS = 4, 100


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Clouds and what is true of them; M samples.

    Attributes:
        points: (M, N, 3) float32, network units, farthest-point order.
        position: (M, 3) float32, metres, middle of the object's bounding box in the base frame.
        kind: (M,) int64, the object's class, an index into ``kinds``.
        gripper: (M, 1) float32, opening in metres.
        scene: (M,) int64; samples of a scene are never on both sides of a split.
        kinds: names of the classes.
        held_out: (M,) bool, True where pre-training never saw the class.
    """

    points: NDArray[np.float32]
    position: NDArray[np.float32]
    kind: NDArray[np.int64]
    gripper: NDArray[np.float32]
    scene: NDArray[np.int64]
    kinds: tuple[str, ...]
    held_out: NDArray[np.bool_]

    @classmethod
    def load(cls, views: Views, held_out: Sequence[str]) -> ProbeData:
        """Every view of a set is a sample.

        Raises:
            ValueError: an instant does not tell its objects; `clar data views` writes them.
        """
        clouds, counts, owner = views.read("cloud"), views.read("cloud_count"), views.instant
        states = views.states()
        objects = []
        for i, info in enumerate(views.infos):
            if not info.get("objects"):
                raise ValueError(
                    f"{views.directory}: instant {i} does not tell its objects; probe a set made by "
                    "`clar data views --objects 1 1 --classes all`"
                )
            objects.append(info["objects"][0])
        kinds = tuple(sorted({o["kind"] for o in objects}))
        points = [
            build_network_points(clouds[v, : counts[v]].astype(np.float32), views.spec) for v in range(len(owner))
        ]
        kind = np.array([kinds.index(o["kind"]) for o in objects])[owner]
        return cls(
            np.stack(points),
            np.array([o["position_m"] for o in objects], dtype=np.float32)[owner],
            kind,
            states[owner, 9:10] * np.float32(views.spec.gripper_max_width_m),
            np.array([info["episode"] for info in views.infos])[owner],
            kinds,
            np.array([k in held_out for k in kinds])[kind],
        )

    def split(self, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Samples to train read-outs on and to judge them on: 60 and 40 of 100 scenes."""
        scenes = np.unique(self.scene)
        order = np.random.default_rng((seed, 11)).permutation(scenes)
        test = np.isin(self.scene, order[: round(0.4 * len(scenes))])
        return ~test, test


class Score(NamedTuple):
    """A mean with its 95 % bootstrap interval over scenes, and the errors per sample that it is the mean of."""

    mean: float
    low: float
    high: float
    errors: NDArray[np.float64]
    scenes: NDArray[np.int64]


@torch.no_grad()
def encode(
    encoder: PointEncoder, points: NDArray[np.float32], progress: Callable[[int], Any] | None = None
) -> PointFeatures:
    """Features of all clouds (M, N, 3), the encoder frozen and in evaluation mode."""
    encoder.eval()
    parts = []
    for start in range(0, len(points), _BATCH):
        parts.append(encoder(torch.from_numpy(points[start : start + _BATCH])))
        if progress is not None:
            progress(len(parts[-1].tokens))
    return PointFeatures(*(torch.cat(part) for part in zip(*parts, strict=True)))


def probe(features: PointFeatures, data: ProbeData, *, seed: int = 0) -> dict[str, Score]:
    """Scores by ``target/readout/group``; group is ``seen`` or ``held_out`` classes.

    Position and gripper read-outs are trained on seen classes alone, so that held-out ones are new to both encoder and
    read-out. The class read-out is trained on all classes: it asks whether features tell classes apart that the encoder
    never saw.
    """
    train, test = data.split(seed)
    scores = {}
    for target in TARGETS:
        chosen = train if target == "class" else train & ~data.held_out
        truth = _truth(target, data)
        for readout in READOUTS:
            predicted = _READ[readout](features, truth, chosen, len(data.kinds) if target == "class" else 0, seed)
            errors = _errors(target, predicted, truth)
            for group, members in (("seen", ~data.held_out), ("held_out", data.held_out)):
                # Position and gripper never met a held-out class: all of its scenes may judge.
                judged = members & (test if target == "class" or group == "seen" else True)
                if judged.any():
                    scores[f"{target}/{readout}/{group}"] = _score(errors[judged], data.scene[judged], seed)
    return scores


def paired_difference(first: Score, second: Score, seed: int = 0) -> tuple[float, float, float]:
    """Mean of first - second over the same samples, with its 95 % bootstrap interval over scenes."""
    score = _score(first.errors - second.errors, first.scenes, seed)
    return score.mean, score.low, score.high


def _truth(target: Target, data: ProbeData) -> Tensor:
    values: dict[Target, NDArray[Any]] = {"position": data.position, "class": data.kind, "gripper": data.gripper}
    return torch.from_numpy(values[target])


def _errors(target: Target, predicted: Tensor, truth: Tensor) -> NDArray[np.float64]:
    """Per sample: distance in mm, width error in mm, or 100 for a right class."""
    if target == "class":
        return np.asarray((predicted.argmax(1) == truth).double().numpy() * 100.0)
    return np.asarray((predicted - truth).double().norm(dim=1).numpy() * 1e3)


def _linear(features: PointFeatures, truth: Tensor, train: NDArray[np.bool_], classes: int, seed: int) -> Tensor:
    """Ridge regression on the standardised global feature; classes as one-hot targets. Strength by cross-validation."""
    x = features.pooled.double()
    rows = torch.from_numpy(train)
    mean, std = x[rows].mean(0), x[rows].std(0).clamp_min(1e-6)
    x = (x - mean) / std
    y = F.one_hot(truth, classes).double() if classes else truth.double()
    offset = y[rows].mean(0)
    fold = torch.from_numpy(np.random.default_rng((seed, 5)).integers(0, 4, len(x)))
    losses = []
    for strength in _RIDGE:
        loss = 0.0
        for k in range(4):
            fit, held = rows & (fold != k), rows & (fold == k)
            weights = _ridge(x[fit], y[fit] - offset, strength)
            loss += float((x[held] @ weights + offset - y[held]).square().sum())
        losses.append(loss)
    strength = _RIDGE[int(np.argmin(losses))]
    return x @ _ridge(x[rows], y[rows] - offset, strength) + offset


def _ridge(x: Tensor, y: Tensor, strength: float) -> Tensor:
    gram = x.T @ x + strength * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(gram, x.T @ y)


class _AttentiveReadout(nn.Module):
    """Learned queries over the tokens, each with its softmax, then a linear layer on what they gather.

    Key and value projections would only multiply into the queries and the linear layer, so there are none.
    """

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.queries = nn.Linear(dim, _QUERIES, bias=False)
        self.out = nn.Linear(dim * _QUERIES, outputs)
        nn.init.normal_(self.queries.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        shares = self.queries(tokens).softmax(1)
        return self.out((shares.transpose(1, 2) @ tokens).flatten(1))  # type: ignore[no-any-return]


def _attentive(features: PointFeatures, truth: Tensor, train: NDArray[np.bool_], classes: int, seed: int) -> Tensor:
    """AdamW on the read-out with a cosine; the features stay as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rows = torch.from_numpy(np.flatnonzero(train))
        tokens = torch.cat([features.tokens, features.centres], dim=-1).float()
        std = tokens[rows].std((0, 1)).clamp_min(1e-6)
        tokens = (tokens - tokens[rows].mean((0, 1))) / std
        y = truth if classes else truth.float()
        offset, scale = (
            (y[rows].mean(0), y[rows].std(0).clamp_min(1e-6)) if not classes else (torch.zeros(1), torch.ones(1))
        )
        model = _AttentiveReadout(tokens.shape[-1], classes or y.shape[1])
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
        batch = 64
        steps = _EPOCHS * -(-len(rows) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(_EPOCHS):
            for chosen in torch.split(rows[torch.randperm(len(rows))], batch):
                predicted = model(tokens[chosen])
                loss = (
                    F.cross_entropy(predicted, y[chosen])
                    if classes
                    else F.mse_loss(predicted, (y[chosen] - offset) / scale)
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            return model(tokens) * scale + offset  # type: ignore[no-any-return]


_READ: dict[Readout, Callable[[PointFeatures, Tensor, NDArray[np.bool_], int, int], Tensor]] = {
    "linear": _linear,
    "attentive": _attentive,
}


def _score(errors: NDArray[np.float64], scenes: NDArray[np.int64], seed: int) -> Score:
    names, index = np.unique(scenes, return_inverse=True)
    sums, counts = np.bincount(index, errors), np.bincount(index)
    draws = np.random.default_rng((seed, 13)).integers(0, len(names), (_RESAMPLES, len(names)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Score(float(errors.mean()), float(low), float(high), errors, scenes)
