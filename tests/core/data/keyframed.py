"""Small made-up demonstrations of keyframes: a hand above a blob of points is to go to it, turned as the blob lies."""

from pathlib import Path

import numpy as np

from clar_core.control.spaces import KEYFRAME
from clar_core.data.episode import Episode, Step
from clar_core.data.store import StoreWriter
from clar_core.geometry.poses import rotation_to_6d, rotation_vector_to_matrix
from tests.core.data.demonstrations import POINTS, SPEC

DOWN = np.diag([1.0, -1.0, -1.0])


def keyframe_episode(seed: int, task: str = "close_box") -> Episode:
    rng = np.random.default_rng(seed)
    steps = []
    for number in range(3):
        target = rng.uniform((0.45, -0.1, 0.1), (0.6, 0.1, 0.2))
        turned = rotation_vector_to_matrix((0, 0, 2.0 * target[1])) @ DOWN
        cloud = target + rng.normal(0, 0.01, (80, 3))
        state = np.concatenate([target + np.array((0, 0, 0.1)), rotation_to_6d(DOWN), [1.0]])
        action = np.concatenate([target, rotation_to_6d(turned), [float(number < 1)]])
        steps.append(Step(cloud.astype(np.float32), state, action))
    return Episode(task, "close the box", steps, True, {"seed": seed}, KEYFRAME)


def write_keyframes(directory: Path, seeds: range = range(6)) -> Path:
    writer = StoreWriter(directory, SPEC, points_per_cloud=POINTS, space=KEYFRAME)
    for seed in seeds:
        writer.append(keyframe_episode(seed))
    return directory
