"""Randomised scenes of the simulated cell: objects, arm, gripper, colours and light, all drawn from one seed.

A scene stands still. It is compiled once and seen at a few instants, between which only the robot moves.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.poses import Array, make_pose, matrix_to_rotation_vector
from clar_core.simulation.expert import top_grasp
from clar_core.simulation.objects import CLASSES, COLORS, SceneObject, make_object
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, HOME_JOINT_POSITIONS_RAD, RobotIndices, compile_model

FIELD_MIN_M, FIELD_MAX_M = (0.38, -0.30), (0.70, 0.30)
"""Where objects stand, base frame, x and y."""
SENTENCES = (
    "pick up the {color} {kind}",
    "grasp the {color} {kind}",
    "move the gripper to the {color} {kind}",
    "take the {color} {kind} from the table",
)
BACKGROUND, TABLE, ARM, HAND = "background", "table", "arm", "hand"
LABELS = (BACKGROUND, TABLE, ARM, HAND, *CLASSES)
"""Names of segmentation labels: a label is an index into this."""

_GAP_M = 0.012
_IK_STEPS, _IK_DAMPING, _IK_TOLERANCE = 60, 1e-3, 5e-3
_NEAR_TARGET = 0.6


@dataclass(frozen=True)
class RandomScene:
    """Objects on the table, and which of them the sentence is about.

    Attributes:
        objects: at least one; the first is the target.
        sentence: what the robot is asked.
    """

    objects: tuple[SceneObject, ...]
    sentence: str
    object_rgb: Array

    @property
    def target(self) -> SceneObject:
        """The object that the sentence names."""
        return self.objects[0]

    @property
    def instruction_id(self) -> str:
        """What the sentence means; paraphrases share it."""
        return f"{self.target.color} {self.target.kind}"

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the objects to a scene that is being built."""
        for i, (scene_object, rgb) in enumerate(zip(self.objects, self.object_rgb, strict=True)):
            scene_object.add_to(worldbody, f"object{i}", rgb)


def draw_scene(rng: np.random.Generator, classes: Sequence[str], objects: tuple[int, int]) -> RandomScene:
    """Objects of these classes, from ``objects[0]`` to ``objects[1]`` of them, that do not touch each other."""
    wanted = int(rng.integers(objects[0], objects[1] + 1))
    placed: list[SceneObject] = []
    for _ in range(40 * wanted):
        kind, color = str(rng.choice(list(classes))), str(rng.choice(list(COLORS)))
        x, y = rng.uniform(FIELD_MIN_M, FIELD_MAX_M)
        candidate = make_object(kind, color, float(x), float(y), float(rng.uniform(-np.pi, np.pi)), rng)
        if all(
            np.hypot(x - other.position_m[0], y - other.position_m[1]) > candidate.radius_m + other.radius_m + _GAP_M
            for other in placed
        ):
            placed.append(candidate)
        if len(placed) == wanted:
            break
    rgb = np.array([COLORS[o.color] for o in placed]) + rng.uniform(-0.05, 0.05, (len(placed), 3))
    sentence = str(rng.choice(SENTENCES)).format(color=placed[0].color, kind=placed[0].kind)
    return RandomScene(tuple(placed), sentence, np.clip(rgb, 0.0, 1.0))


class SceneState:
    """A compiled random scene whose robot can be put anywhere.

    Args:
        scene: the objects.
        rng: draws the colours of table and floor, and the light.
    """

    def __init__(self, scene: RandomScene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.model = compile_model(scene)
        self.data = mujoco.MjData(self.model)
        self._indices = RobotIndices.of(self.model)
        shade, tint = rng.uniform(0.25, 0.75), rng.uniform(-0.08, 0.08, 3)
        self.model.geom("table").rgba[:3] = np.clip(shade + tint, 0.0, 1.0)
        self.model.geom("ground").rgba[:3] = rng.uniform(0.15, 0.5)
        self.model.vis.headlight.ambient[:] = rng.uniform(0.15, 0.45)
        self.model.vis.headlight.diffuse[:] = rng.uniform(0.10, 0.45)

    @property
    def T_base_tcp(self) -> Array:
        """TCP pose (4, 4)."""
        return self._indices.tcp_pose(self.data)

    @property
    def gripper_width_m(self) -> float:
        """Opening between the fingers."""
        return self._indices.gripper_width_m(self.data)

    def geom_labels(self) -> NDArray[np.int64]:
        """Label (index into ``LABELS``) of every geometry of the model, (ngeom,) int64."""
        names = [self.model.body(self.model.geom_bodyid[i]).name for i in range(self.model.ngeom)]
        kinds = {f"object{i}": o.kind for i, o in enumerate(self.scene.objects)}
        labels = []
        for i, name in enumerate(names):
            if name in kinds:
                labels.append(LABELS.index(kinds[name]))
            elif self.model.geom(i).name == "table":
                labels.append(LABELS.index(TABLE))
            elif "hand" in name or "finger" in name:
                labels.append(LABELS.index(HAND))
            else:
                labels.append(LABELS.index(BACKGROUND if name == "world" else ARM))
        return np.array(labels, dtype=np.int64)

    def place_robot(self, rng: np.random.Generator) -> None:
        """Put the hand somewhere over the table, often over the target, and the fingers at any width."""
        target = self.scene.target
        for _ in range(8):
            if rng.random() < _NEAR_TARGET:
                x, y = np.asarray(target.position_m[:2]) + rng.normal(0.0, 0.03, 2)
                z = target.height_m + rng.uniform(0.0, 0.16)
            else:
                (x, y), z = rng.uniform(FIELD_MIN_M, FIELD_MAX_M), rng.uniform(0.10, 0.33)
            rotation = top_grasp(float(rng.uniform(-1.2, 1.2)), np.diag([1.0, -1.0, -1.0]), 2 * np.pi)
            if self._reach(make_pose(rotation, (x, y, z))):
                break
        width = rng.choice([rng.uniform(0.0, HAND_MAX_WIDTH_M), 0.0, HAND_MAX_WIDTH_M], p=[0.5, 0.2, 0.3])
        self.data.qpos[self._indices.finger_qpos] = width / 2
        mujoco.mj_forward(self.model, self.data)

    def _reach(self, T_base_tcp: Array) -> bool:
        """Damped least squares from home; whether it arrived within 5 mm and 5 mrad."""
        model, data, indices = self.model, self.data, self._indices
        low, high = model.jnt_range[[model.dof_jntid[dof] for dof in indices.arm_dof]].T
        data.qpos[indices.arm_qpos] = HOME_JOINT_POSITIONS_RAD
        jacobian = np.zeros((6, model.nv))
        for _ in range(_IK_STEPS):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            pose = indices.tcp_pose(data)
            error = np.r_[
                T_base_tcp[:3, 3] - pose[:3, 3], matrix_to_rotation_vector(T_base_tcp[:3, :3] @ pose[:3, :3].T)
            ]
            if np.abs(error).max() < _IK_TOLERANCE:
                return True
            mujoco.mj_jac(model, data, jacobian[:3], jacobian[3:], pose[:3, 3], indices.hand_body)
            arm = jacobian[:, indices.arm_dof]
            step = arm.T @ np.linalg.solve(arm @ arm.T + _IK_DAMPING * np.eye(6), error)
            data.qpos[indices.arm_qpos] = np.clip(
                data.qpos[indices.arm_qpos] + np.clip(step, -0.3, 0.3), low + 0.01, high - 0.01
            )
        return False
