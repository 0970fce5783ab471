"""MetaWorld demonstrations of its scripted policies, observed as clouds in one world frame.

A step is one step of the environment (12.5 ms), not of 10 Hz: MetaWorld has its own pace, 200 steps an episode. Its
four numbers become the 7-D action: translation in metres, no rotation, gripper 0 closed and 1 open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.data.episode import Episode, PosedImage, Step
from clar_core.data.metaworld_tasks import PREFIX, sentences_of
from clar_core.data.store import Store, StoreWriter
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, make_pose
from clar_core.observation.builder import TooFewPointsError, build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec

METAWORLD_SPEC = ObservationSpec(
    base_frame="metaworld_world",
    crop_min_m=(-0.5, 0.30, 0.003),
    crop_max_m=(0.5, 0.965, 0.7),
    depth_min_m=0.1,
    depth_max_m=4.0,
    gripper_max_width_m=1.0,
)
"""A looser y lets the back wall take the points. The gripper's opening is a fraction, not metres."""

VIEW_SPEC = replace(
    METAWORLD_SPEC, base_frame="metaworld_view", crop_min_m=(-1.0, -1.0, -1.0), crop_max_m=(1.0, 1.0, 1.0)
)
"""The control without a frame of the world: see :func:`in_view`."""

Frame = Literal["world", "view"]
SPECS: dict[Frame, ObservationSpec] = {"world": METAWORLD_SPEC, "view": VIEW_SPEC}
DEFAULT_CAMERA = "corner"
STEP_S = 0.0125

_ACTION_SCALE_M = 0.01
_MILLIMETRES = 1000.0
_OPTICAL = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's cameras look along -z with y up; an optical frame looks along z with y down."""
_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class MetaWorldConfig:
    """What to collect.

    Attributes:
        task: such as ``reach`` or ``peg-unplug-side``.
        directory: store to create, or to append to.
        episodes: successful ones to keep.
        first_seed: seeds count up from here.
        steps: length of an episode.
        camera: one of the scene's cameras.
        width, height: of the depth image.
        points: kept of each cloud.
        image_size: side of the colour images kept with the steps; 0 keeps none.
        frame: of the clouds: ``world``, or ``view``, the control that normalises every cloud in its camera's own frame.
    """

    task: str = "reach"
    directory: Path = Path("outputs/data/metaworld")
    episodes: int = 30
    first_seed: int = 0
    steps: int = 200
    camera: str = DEFAULT_CAMERA
    width: int = 320
    height: int = 240
    points: int = 1024
    image_size: int = 0
    frame: Frame = "world"


class MetaWorldCell:
    """One environment with its depth camera. Close it: a second renderer gives empty frames under OSMesa.

    Raises:
        ImportError: MetaWorld is not installed; the text says what to install.
        ValueError: no such task, or no such camera.
    """

    def __init__(self, task: str, camera: str, width: int, height: int) -> None:
        os.environ.setdefault("MUJOCO_GL", "osmesa")
        try:
            from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
            from metaworld.policies import ENV_POLICY_MAP
        except ImportError as error:
            raise ImportError("MetaWorld is not installed: pip install metaworld==3.1.1") from error
        import mujoco

        environments: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        policies: Any = ENV_POLICY_MAP
        name = f"{task}-v3-goal-observable"
        if name not in environments:
            known = ", ".join(sorted(n.removesuffix("-v3-goal-observable") for n in environments))
            raise ValueError(f"task: MetaWorld has no {task!r}; it has {known}")
        self._mujoco = mujoco
        self.env: Any = environments[name](seed=0)
        self.policy: Any = policies[f"{task}-v3"]()
        model = self.env.model
        self._camera, self._size = self._number(camera), (width, height)
        self.intrinsics = self._intrinsics()
        self._renderer = mujoco.Renderer(model, height, width)
        self._renderer.enable_depth_rendering()
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False  # of no use to depth, and most of what colour takes

    def reset(self, seed: int) -> NDArray[np.float64]:
        """A start that depends on the seed alone; returns the observation (39,)."""
        env = self.env
        # reset(seed=...) is ignored by MetaWorld; this is what makes a start repeatable.
        env._freeze_rand_vec, env.seeded_rand_vec = False, True
        env.seed(seed)
        observation, _ = env.reset()
        # Without it the first frame shows objects where they stood before, up to 16 cm off.
        self._mujoco.mj_forward(env.model, env.data)
        return np.asarray(observation, dtype=np.float64)

    def depth(self) -> NDArray[np.uint16]:
        """Depth (h, w) in millimetres along the optical axis."""
        self._renderer.update_scene(self.env.data, self._camera)
        millimetres = self._renderer.render() * _MILLIMETRES
        return np.where(millimetres < 65536, np.round(millimetres), 0).astype(np.uint16)

    def image(self, size: int) -> NDArray[np.uint8]:
        """Colour (S, S, 3) uint8 RGB, the right way up, the whole image resized to a square."""
        self._renderer.disable_depth_rendering()
        self._renderer.update_scene(self.env.data, self._camera)
        rendered = self._renderer.render()
        self._renderer.enable_depth_rendering()
        return np.asarray(self._upright(cv2.resize(rendered, (size, size), interpolation=cv2.INTER_AREA)))

    def posed_image(self, size: int) -> PosedImage:
        """The colour image with the depth of its pixels and its place, as a store keeps it."""
        depth = cv2.resize(self.depth(), (size, size), interpolation=cv2.INTER_NEAREST)
        # The principal point is the middle, so turning the image by half a turn leaves the intrinsics as they are.
        pose = self.T_world_camera @ (_HALF_TURN if self._upside_down else np.eye(4))
        return PosedImage(self.image(size), np.asarray(self._upright(depth)), self.intrinsics.scaled(size, size), pose)

    def segmentation(self, size: int) -> NDArray[np.int32]:
        """What the pixels of the colour image show, (S, S, 2) int32: number of the object, and MuJoCo's kind of it."""
        self._renderer.enable_segmentation_rendering()
        self._renderer.update_scene(self.env.data, self._camera)
        rendered = self._renderer.render()
        self._renderer.disable_segmentation_rendering()
        self._renderer.enable_depth_rendering()
        small = cv2.resize(rendered.astype(np.int32), (size, size), interpolation=cv2.INTER_NEAREST)
        return np.asarray(self._upright(small), dtype=np.int32)

    def look_from(self, camera: str, T_world_camera: Array | None = None) -> None:
        """See through another of the scene's cameras, put at a place (4, 4) of its depth optical frame if one is given.

        Raises:
            ValueError: no such camera.
        """
        self._camera = self._number(camera)
        model, data = self.env.model, self.env.data
        if T_world_camera is not None:
            model.cam_pos[self._camera] = T_world_camera[:3, 3]
            self._mujoco.mju_mat2Quat(model.cam_quat[self._camera], (T_world_camera[:3, :3] @ _OPTICAL).ravel())
        self._mujoco.mj_camlight(model, data)
        self.intrinsics = self._intrinsics()

    @property
    def _upside_down(self) -> bool:
        """Whether the camera's up looks down, as that of every corner of the scene does."""
        return bool(self.env.data.cam_xmat[self._camera].reshape(3, 3)[2, 1] < 0)

    def _upright(self, image: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(image[::-1, ::-1]) if self._upside_down else image

    @property
    def T_world_camera(self) -> Array:
        """(4, 4) maps points of the depth optical frame to the world."""
        data = self.env.data
        rotation = data.cam_xmat[self._camera].reshape(3, 3) @ _OPTICAL
        return make_pose(rotation, data.cam_xpos[self._camera])

    def cloud(self, spec: ObservationSpec, T_world_camera: Array | None = None) -> NDArray[np.float32]:
        """The cropped cloud (n, 3) float32 in the frame of a spec of ``SPECS``.

        Args:
            T_world_camera: (4, 4), where the camera is believed to be; the truth when left out.

        Raises:
            TooFewPointsError: the crop box holds fewer points than the spec asks for.
        """
        pose = self.T_world_camera if T_world_camera is None else T_world_camera
        points = build_cloud(self.depth(), self.intrinsics, pose, METAWORLD_SPEC)
        return in_view(points, pose) if spec.base_frame == VIEW_SPEC.base_frame else points

    def pose_of(self, camera: str) -> Array:
        """(4, 4) maps points of the optical frame of another of the scene's fixed cameras to the world.

        Raises:
            ValueError: no such camera.
        """
        mine = self._camera
        self._camera = self._number(camera)
        try:
            return self.T_world_camera
        finally:
            self._camera = mine

    def _intrinsics(self) -> Intrinsics:
        width, height = self._size
        focal = 0.5 * height / np.tan(np.radians(float(self.env.model.cam_fovy[self._camera])) / 2)
        return Intrinsics(width=width, height=height, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)

    def _number(self, camera: str) -> int:
        model = self.env.model
        number = int(self._mujoco.mj_name2id(model, self._mujoco.mjtObj.mjOBJ_CAMERA, camera))
        if number < 0:
            names = ", ".join(model.camera(i).name for i in range(model.ncam))
            raise ValueError(f"camera: the scene has no {camera!r}; it has {names}")
        return number

    def state(self, observation: NDArray[np.float64], spec: ObservationSpec) -> NDArray[np.float32]:
        """Proprioception (10,): the middle between the fingers, the hand's rotation, the opening."""
        rotation = self.env.data.body("hand").xmat.reshape(3, 3)
        return proprioception(make_pose(rotation, self.env.tcp_center), float(observation[3]), spec)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
        self.env.close()


def action_of(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The 7-D action of MetaWorld's four numbers, clipped to [-1, 1] as its environments do."""
    a = np.clip(np.asarray(values, dtype=np.float64), -1.0, 1.0)
    return np.concatenate([a[:3] * _ACTION_SCALE_M, np.zeros(3), [(1.0 - a[3]) / 2]]).astype(np.float32)


def environment_action(action: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """MetaWorld's four numbers of a 7-D action, clipped to [-1, 1]: the inverse of :func:`action_of`."""
    a = np.asarray(action, dtype=np.float64)
    return np.clip([*(a[:3] / _ACTION_SCALE_M), 1.0 - 2.0 * a[6]], -1.0, 1.0).astype(np.float32)


def in_view(points: NDArray[np.float32], T_world_camera: Array) -> NDArray[np.float32]:
    """Points (n, 3) in the camera's frame, centred and scaled into the unit sphere, as object data sets are."""
    rotation = np.asarray(T_world_camera[:3, :3], dtype=np.float32)
    turned = (points - np.asarray(T_world_camera[:3, 3], dtype=np.float32)) @ rotation
    centred = turned - turned.mean(0)
    return np.ascontiguousarray(centred / np.linalg.norm(centred, axis=1).max(), dtype=np.float32)


def collect(config: MetaWorldConfig) -> Iterator[Episode]:
    """Record the scripted policy until enough episodes succeeded; each is in the store before it is yielded.

    Seeds that the store has already are not tried again, so that an interrupted collection goes on.

    Raises:
        ImportError, ValueError: as :class:`MetaWorldCell`.
        StoreError: the directory holds something else.
    """
    writer = StoreWriter(
        config.directory, SPECS[config.frame], points_per_cloud=config.points, image_size=config.image_size
    )
    there = [e for e in Store(config.directory).episodes if e.task == PREFIX + config.task]
    seed = max((int(e.info["seed"]) + 1 for e in there), default=config.first_seed)
    cell = MetaWorldCell(config.task, config.camera, config.width, config.height)
    kept = len(there)
    try:
        while kept < config.episodes:
            episode = rollout(cell, config, seed)
            seed += 1
            if episode.success:
                writer.append(episode)
                kept += 1
                yield episode
    finally:
        cell.close()


def rollout(cell: MetaWorldCell, config: MetaWorldConfig, seed: int) -> Episode:
    """One episode of the scripted policy; a success is one in any step, for it may pass."""
    observation = cell.reset(seed)
    spec = SPECS[config.frame]
    steps: list[Step] = []
    success = False
    for _ in range(config.steps):
        action = np.clip(cell.policy.get_action(observation), -1.0, 1.0)
        with suppress(TooFewPointsError):
            image = cell.posed_image(config.image_size) if config.image_size else None
            steps.append(Step(cell.cloud(spec), cell.state(observation, spec), action_of(action), image))
        observation, _, terminated, truncated, info = cell.env.step(action.astype(np.float32))
        success = success or bool(info.get("success", 0.0) > 0.5)
        if terminated or truncated:
            break
    if not steps:
        raise ValueError(
            f"{config.task}: camera {config.camera!r} sees too few points at {config.width} pixels: render larger"
        )
    info = {"seed": seed, "source": "metaworld", "labels": "scripted", "camera": config.camera}
    known = sentences_of(config.task)
    return Episode(PREFIX + config.task, known[seed % len(known)], steps, success, info)
