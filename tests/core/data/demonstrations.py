"""Small made-up demonstrations: a hand that goes to a blob of points and closes there."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from clar_core.data.episode import Episode, PosedImage, Step
from clar_core.data.store import StoreWriter
from clar_core.geometry.camera import Intrinsics
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


def picture(step: Step, size: int) -> np.ndarray:
    """A colour image (size, size, 3) that shows where the blob lies from the hand: a bright patch on noise."""
    rng = np.random.default_rng(int(abs(step.state[0]) * 1e6))
    image = rng.integers(0, 40, (size, size, 3), dtype=np.uint8)
    offset_m = step.cloud.mean(0) - step.state[:3]
    column, row = np.clip((offset_m[:2] / 0.2 + 0.5) * size, 2, size - 3).astype(int)
    image[row - 2 : row + 3, column - 2 : column + 3] = (250, 220, 30)
    return image


def with_images(recorded: Episode, size: int) -> Episode:
    intrinsics = Intrinsics(size, size, float(size), float(size), size / 2, size / 2)
    depth = np.full((size, size), 800, np.uint16)
    steps = [replace(s, image=PosedImage(picture(s, size), depth, intrinsics, np.eye(4))) for s in recorded.steps]
    return replace(recorded, steps=steps)


def write_store(
    directory: Path, seeds: range = range(6), spec: ObservationSpec = SPEC, image_size: int = 0, **options
) -> Path:
    writer = StoreWriter(directory, spec, points_per_cloud=POINTS, image_size=image_size)
    for seed in seeds:
        recorded = episode(seed, **options)
        writer.append(with_images(recorded, image_size) if image_size else recorded)
    return directory
