"""The cell's MuJoCo scene: franky-sim's FR3 with hand, plus a table, a depth and a colour camera, and a task's bodies.

The base frame ``fr3_link0`` is MuJoCo's world frame: the table top is the plane z = 0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator
from numpy.typing import NDArray

from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, make_pose, matrix_to_quaternion
from clar_core.simulation import pinocchio2  # noqa: F401  franky-sim needs it under NumPy 1.26
from clar_core.simulation.camera import (
    CELL_GROUP,
    COLOR_CAMERA,
    COLOR_INTRINSICS,
    DEPTH_CAMERA,
    DEPTH_INTRINSICS,
    T_BASE_DEPTH,
    T_DEPTH_COLOR,
)
from clar_core.simulation.plate import Plate, add_plate, print_plate

HOME_JOINT_POSITIONS_RAD = (0.0, -0.2289, 0.0, -2.4007, 0.0, 2.1717, -0.1745)
"""TCP at (0.46, 0.00, 0.30) m, pointing down, fingers opening across the camera's line of sight, so that neither finger
hides what is between them."""
MOTION_BOX_MIN_M = (0.26, -0.42, 0.012)
MOTION_BOX_MAX_M = (0.80, 0.38, 0.55)
"""Where the TCP may be, base frame; the same numbers as in the simulated cell's cell.yaml."""
HAND_MAX_WIDTH_M = 0.08
FLANGE_TO_TCP_M = 0.1034
OVERVIEW_CAMERA = "overview"

_PREFIX = "robot0_"
_FLOOR_Z_M = -0.75
# The hand body of the model is already turned by -45 degrees about the flange's z axis.
_T_HAND_TCP = make_pose(translation=(0.0, 0.0, FLANGE_TO_TCP_M))


class Bodies(Protocol):
    """What stands on the table: a task, or the objects of a randomised scene."""

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the bodies to a scene that is being built."""


def populate(simulator: MujocoSimulator, task: Bodies, plate: Plate | None = None) -> None:
    """Add the robot, the cell, the task's bodies and perhaps a plate to a franky-sim simulator that has not started."""
    simulator.add_robot(initial_q=HOME_JOINT_POSITIONS_RAD, initial_hand_width=HAND_MAX_WIDTH_M)
    visual = _child(simulator.scene, "visual")
    _child(visual, "quality").set("offsamples", "4")
    _child(visual, "headlight").attrib.update(diffuse="0.15 0.15 0.15", ambient="0.20 0.20 0.20", specular="0 0 0")
    ET.SubElement(visual, "global", offwidth="1280", offheight="960")
    ET.SubElement(visual, "map", znear="0.005", zfar="30")
    worldbody = simulator.worldbody
    ground = worldbody.find("geom[@name='ground']")
    if ground is None:
        raise RuntimeError("franky-sim's scene has no geom 'ground': this franky-sim is not the pinned version")
    ground.set("pos", f"0 0 {_FLOOR_Z_M}")
    ground.attrib.pop("material", None)
    ground.set("rgba", "0.30 0.32 0.34 1")
    ET.SubElement(
        worldbody,
        "geom",
        name="table",
        type="box",
        group=str(CELL_GROUP),
        pos="0.55 0 -0.02",
        size="0.42 0.60 0.02",
        rgba="0.52 0.49 0.45 1",
        friction="0.8 0.01 0.001",
    )
    _add_camera(worldbody, DEPTH_CAMERA, T_BASE_DEPTH, DEPTH_INTRINSICS)
    _add_camera(worldbody, COLOR_CAMERA, T_BASE_DEPTH @ T_DEPTH_COLOR, COLOR_INTRINSICS)
    ET.SubElement(
        worldbody,
        "camera",
        name=OVERVIEW_CAMERA,
        pos="1.35 -0.95 0.95",
        xyaxes="0.60 0.80 0 -0.42 0.32 0.85",
        fovy="38",
    )
    task.add_bodies(worldbody)
    if plate is not None:
        hand = simulator.scene.find(f".//body[@name='{_PREFIX}hand']") if plate.on_hand else worldbody
        if hand is None:
            raise RuntimeError("franky-sim's scene has no body of the hand: this franky-sim is not the pinned version")
        T_body_plate = (_T_HAND_TCP if plate.on_hand else np.eye(4)) @ plate.T_parent_plate
        add_plate(_child(simulator.scene, "asset"), hand, plate, T_body_plate, CELL_GROUP)


def compile_model(
    task: Bodies, *, timestep_s: float = 0.002, visual_meshes: bool = False, plate: Plate | None = None
) -> mujoco.MjModel:
    """Compile the scene. Without the robot's visual meshes it looks coarse and compiles ten times faster."""
    with MujocoSimulator() as simulator:
        populate(simulator, task, plate)
        if not visual_meshes:
            _remove_visual_meshes(simulator.scene)
        model = mujoco.MjModel.from_xml_string(ET.tostring(simulator.scene, encoding="unicode"))
    model.opt.timestep = timestep_s
    if plate is not None:
        print_plate(model, plate)
    return model


@dataclass(frozen=True)
class RobotIndices:
    """Where the robot lives in a compiled model: addresses in qpos and qvel, body and actuator ids."""

    arm_qpos: NDArray[np.int64]
    arm_dof: NDArray[np.int64]
    finger_qpos: NDArray[np.int64]
    finger_dof: NDArray[np.int64]
    hand_body: int
    arm_actuators: NDArray[np.int64]
    hand_actuator: int

    @classmethod
    def of(cls, model: mujoco.MjModel) -> RobotIndices:
        """Look the robot up by name. Raises KeyError when the model does not hold the cell's robot."""
        arm = [model.joint(f"{_PREFIX}fr3_joint{i}") for i in range(1, 8)]
        fingers = [model.joint(f"{_PREFIX}finger_joint{i}") for i in (1, 2)]
        return cls(
            arm_qpos=np.array([j.qposadr[0] for j in arm]),
            arm_dof=np.array([j.dofadr[0] for j in arm]),
            finger_qpos=np.array([j.qposadr[0] for j in fingers]),
            finger_dof=np.array([j.dofadr[0] for j in fingers]),
            hand_body=model.body(f"{_PREFIX}hand").id,
            arm_actuators=np.array([model.actuator(f"{_PREFIX}fr3_joint{i}").id for i in range(1, 8)]),
            hand_actuator=model.actuator(f"{_PREFIX}hand").id,
        )

    def tcp_pose(self, data: mujoco.MjData) -> Array:
        """``T_base_tcp`` (4, 4) of the state in ``data`` (forward kinematics must be up to date)."""
        hand = make_pose(data.xmat[self.hand_body].reshape(3, 3), data.xpos[self.hand_body])
        return hand @ _T_HAND_TCP

    def gripper_width_m(self, data: mujoco.MjData) -> float:
        """Opening between the fingers in metres."""
        return float(data.qpos[self.finger_qpos].sum())


def place_camera(model: mujoco.MjModel, T_base_depth: Array) -> None:
    """Move the D455 of a compiled model: both of its cameras, by the pose of the depth camera's optical frame."""
    for name, pose in ((DEPTH_CAMERA, T_base_depth), (COLOR_CAMERA, T_base_depth @ T_DEPTH_COLOR)):
        camera = model.camera(name)
        camera.pos[:], camera.quat[:] = pose[:3, 3], _camera_quaternion_wxyz(pose)


def camera_pose(model: mujoco.MjModel, name: str = DEPTH_CAMERA) -> Array:
    """``T_base_optical`` of a camera of a compiled model."""
    camera = model.camera(name)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, camera.quat)
    return make_pose(rotation.reshape(3, 3) @ np.diag([1.0, -1.0, -1.0]), camera.pos)


def _remove_visual_meshes(scene: ET.Element) -> None:
    for parent in list(scene.iter("body")):
        for geom in parent.findall("geom[@class='visual']"):
            parent.remove(geom)
    used = {geom.get("mesh") for geom in scene.iter("geom")}
    for asset in scene.findall("asset"):
        for mesh in asset.findall("mesh"):
            if mesh.get("name") not in used:
                asset.remove(mesh)


def _camera_quaternion_wxyz(T_base_optical: Array) -> Array:
    """MuJoCo cameras look along -z with y up; optical frames along +z with y down."""
    x, y, z, w = matrix_to_quaternion(T_base_optical[:3, :3] @ np.diag([1.0, -1.0, -1.0]))
    return np.array([w, x, y, z])


def _add_camera(worldbody: ET.Element, name: str, T_base_optical: Array, intrinsics: Intrinsics) -> None:
    width, height = intrinsics.width, intrinsics.height
    ET.SubElement(
        worldbody,
        "camera",
        name=name,
        pos=_numbers(T_base_optical[:3, 3]),
        quat=_numbers(_camera_quaternion_wxyz(T_base_optical)),
        resolution=f"{width} {height}",
        sensorsize=f"{width * 1e-5} {height * 1e-5}",
        focalpixel=f"{intrinsics.fx} {intrinsics.fy}",
        # MuJoCo measures from the image centre, to the right and downwards reversed: see the projection test.
        principalpixel=f"{(width - 1) / 2 - intrinsics.cx} {intrinsics.cy - (height - 1) / 2}",
    )


def _numbers(values: Sequence[float] | Array) -> str:
    return " ".join(f"{v:.9g}" for v in values)


def _child(parent: ET.Element, tag: str) -> ET.Element:
    child = parent.find(tag)
    return child if child is not None else ET.SubElement(parent, tag)
