"""RLBench demonstrations as episodes: of steps at 10 Hz, or of keyframes. https://github.com/stepjam/RLBench

Observations come at 20 Hz. Steps of 10 Hz are labelled with differences of measured gripper poses; a keyframe's label
is the pose that the arm, and the state that the gripper, has at the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import KEYFRAME
from clar_core.data.episode import Episode, Step
from clar_core.data.labels import MEASURED
from clar_core.data.rlbench_demo import (
    Demonstration,
    DemonstrationError,
    demonstration_folders,
    load_demonstration,
)
from clar_core.geometry.poses import Array, delta_between, rotation_to_6d
from clar_core.observation.builder import TooFewPointsError
from clar_core.observation.spec import ObservationSpec

STRIDE = 2
"""Observations of 20 Hz to a step of 10 Hz."""


def read_episodes(
    task_folder: Path,
    spec: ObservationSpec,
    *,
    camera: str = "front",
    T_base_world: Array | None = None,
    of_keyframes: bool = False,
    between: int = 0,
    skipped: Counter[str] | None = None,
) -> Iterator[Episode]:
    """All demonstrations of one task.

    Args:
        task_folder: ``<task>``, with ``variation*`` inside.
        spec: what an observation is.
        camera: front, left_shoulder, right_shoulder, overhead or wrist.
        T_base_world: (4, 4) maps world points to the spec's base frame; None takes the world as base.
        of_keyframes: labels are the next keyframe's pose instead of the next step.
        between: see :func:`keyframe_episode`.
        skipped: counts demonstrations that cannot be read, by reason.
    """
    counted = Counter[str]() if skipped is None else skipped
    for folder in demonstration_folders(task_folder):
        try:
            demonstration = load_demonstration(folder, T_base_world)
            if of_keyframes:
                yield keyframe_episode(demonstration, spec, camera=camera, between=between)
            else:
                yield step_episode(demonstration, spec, camera=camera)
        except (DemonstrationError, ValueError, OSError) as error:
            counted[str(error)] += 1


def step_episode(demonstration: Demonstration, spec: ObservationSpec, *, camera: str = "front") -> Episode:
    """A demonstration in steps of 10 Hz.

    Raises:
        DemonstrationError: an image or a field is missing or malformed, or every cloud has too few points.
    """
    poses, is_open = demonstration.poses, demonstration.is_open
    steps: list[Step] = []
    few = 0
    for now in range(0, len(poses) - STRIDE, STRIDE):
        try:
            cloud, state = demonstration.observe(now, spec, camera)
        except TooFewPointsError:
            few += 1
            continue
        translation, rotation = delta_between(poses[now], poses[now + STRIDE])
        action = np.concatenate([translation, rotation, [float(is_open[now + STRIDE])]])
        steps.append(Step(cloud, state, action.astype(np.float32)))
    info = _info(demonstration, steps, few, camera) | {"keyframes": [k // STRIDE for k in demonstration.keyframes()]}
    return Episode(demonstration.task, demonstration.sentence, steps, True, info)


def keyframe_episode(
    demonstration: Demonstration, spec: ObservationSpec, *, camera: str = "front", between: int = 0
) -> Episode:
    """A demonstration as decisions: what is seen at its beginning and at each keyframe, and where to go next.

    Args:
        between: on the way, every so many observations, one is labelled with the same keyframe; 0 takes none. PerAct
            and RVT take every tenth. Shortly before a keyframe all looks as at it, with another label: a policy that
            regresses answers with the middle of the two.

    Raises:
        DemonstrationError: as :func:`step_episode`.
    """
    steps: list[Step] = []
    few, begin = 0, 0
    for end in demonstration.keyframes():
        label = keyframe_action(demonstration.poses[end], demonstration.is_open[end])
        for now in range(begin, end, between or end - begin):
            try:
                cloud, state = demonstration.observe(now, spec, camera)
            except TooFewPointsError:
                few += 1
                continue
            steps.append(Step(cloud, state, label))
        begin = end
    info = _info(demonstration, steps, few, camera) | {"between": between}
    return Episode(demonstration.task, demonstration.sentence, steps, True, info, KEYFRAME)


def keyframe_action(T_base_tip: Array, is_open: bool) -> NDArray[np.float32]:
    """The action (10,) of ``control.spaces.KEYFRAME`` that goes to a pose: position, rotation columns, gripper."""
    return np.concatenate([T_base_tip[:3, 3], rotation_to_6d(T_base_tip), [float(is_open)]]).astype(np.float32)


def _info(demonstration: Demonstration, steps: list[Step], few: int, camera: str) -> dict[str, object]:
    if not steps:
        raise DemonstrationError(
            f"{demonstration.folder}: no step with enough points in the crop box ({few} had too few)"
        )
    return {
        "source": "rlbench",
        "labels": MEASURED,
        "bag": demonstration.name,
        "camera": camera,
        "seed": -1,
        "demonstration": demonstration.digest,
    }
