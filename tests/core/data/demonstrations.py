"""Small made-up demonstrations: a hand that goes to a blob of points and closes there."""

from pathlib import Path

import numpy as np

from clar_core.data.episode import Episode, Step
from clar_core.data.store import StoreWriter
from clar_core.observation.spec import ObservationSpec

SPEC = ObservationSpec(network_points=32, min_cloud_points=16)
POINTS = 64


def step(rng: np.random.Generator, target: np.ndarray, position: np.ndarray, points: int = 80) -> Step:
    cloud = target + rng.normal(0, 0.01, (points, 3))
    state = np.concatenate([position, [1, 0, 0, 0, -1, 0], [0.5]])
    close = np.linalg.norm(target - position) < 0.02
    action = np.concatenate([np.clip(target - position, -0.02, 0.02), [0, 0, 0.01], [0.0 if close else 1.0]])
    return Step(cloud.astype(np.float32), state, action)


def episode(seed: int, length: int = 12, task: str = "reach", success: bool = True) -> Episode:
    rng = np.random.default_rng(seed)
    target = rng.uniform((0.45, -0.1, 0.1), (0.6, 0.1, 0.2))
    position = target + rng.uniform(-0.1, 0.1, 3)
    steps = []
    for _ in range(length):
        steps.append(step(rng, target, position))
        position = position + steps[-1].action[:3]
    return Episode(task, f"{task} the blob", steps, success, {"seed": seed})


def write_store(directory: Path, seeds: range = range(6), spec: ObservationSpec = SPEC, **options) -> Path:
    writer = StoreWriter(directory, spec, points_per_cloud=POINTS)
    for seed in seeds:
        writer.append(episode(seed, **options))
    return directory
