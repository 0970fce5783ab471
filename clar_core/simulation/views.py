"""Posed RGB-D views of randomised scenes, for pre-training and its probe: everything runs with no download.

One camera is the cell's own and never moves; the others look at the table from random places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.data.views import Instant, View, ViewWriter
from clar_core.geometry.poses import Array
from clar_core.observation.builder import TooFewPointsError, build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.camera import (
    T_BASE_DEPTH,
    T_DEPTH_COLOR,
    DepthCamera,
    look_at,
)
from clar_core.simulation.env import CELL_SPEC
from clar_core.simulation.image_camera import ImageCamera
from clar_core.simulation.objects import CLASSES, HELD_OUT_CLASSES
from clar_core.simulation.randomized import LABELS, RandomScene, SceneState, draw_scene
from clar_core.simulation.scene import place_camera
from clar_core.workers import in_order, map_unordered

IMAGE_PIXELS = 224
_CELL_CAMERA = 0
_MOVING_CAMERA = -1
_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What to render.

    Attributes:
        directory: set of views to create, or to append to.
        scenes: how many in all; an interrupted call goes on.
        instants: times at which a scene is seen; only the robot moves between them.
        cameras: views of an instant; the first is the cell's fixed camera, the others stand anywhere.
        objects: fewest and most objects of a scene.
        classes: ``training`` leaves out the classes that are held out for the probe; ``all`` has them too.
        first_seed: scenes count up from here; the same seed is the same scene.
        workers: processes; all cores when None.
    """

    directory: Path = Path("outputs/data/views")
    scenes: int = 600
    instants: int = 2
    cameras: int = 4
    objects: tuple[int, int] = (1, 5)
    classes: Literal["training", "all"] = "training"
    first_seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("scenes", "instants", "cameras"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 1 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"objects: expected 1 <= fewest <= most, got {self.objects}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the object classes in use."""
        return tuple(c for c in CLASSES if self.classes == "all" or c not in HELD_OUT_CLASSES)


def random_camera(rng: np.random.Generator) -> Array:
    """``T_base_depth`` of a camera that looks at the table's middle from somewhere around it, 0.6 to 1.2 m away."""
    azimuth, elevation = rng.uniform(-2.3, 2.3), rng.uniform(0.40, 1.25)
    distance = rng.uniform(0.60, 1.20)
    target = np.array([0.52, 0.0, 0.05]) + rng.uniform(-0.10, 0.10, 3) * (1.0, 1.0, 0.5)
    direction = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation))
    x, y, z = target + distance * np.array(direction)
    return look_at((x, y, z), (float(target[0]), float(target[1]), float(target[2])))


def render_scene(seed: int, config: ViewsConfig, spec: ObservationSpec = CELL_SPEC) -> list[Instant]:
    """The instants of one scene, a function of the seed alone."""
    rng = np.random.default_rng((seed, 7))
    scene = draw_scene(rng, config.kinds, config.objects)
    state = SceneState(scene, rng)
    depth_camera = DepthCamera(state.model)
    image_camera, labels = ImageCamera(state.model, IMAGE_PIXELS), state.geom_labels()
    try:
        instants = []
        for _ in range(config.instants):
            state.place_robot(rng)
            views = [_view(state, depth_camera, image_camera, labels, i, rng, spec) for i in range(config.cameras)]
            instants.append(_instant(state, scene, views, seed, spec))
        return instants
    finally:
        depth_camera.close()
        image_camera.close()


def make_views(config: ViewsConfig, progress: Callable[[int], Any] | None = None) -> int:
    """Bring a set of views to its number of scenes; returns the views in it.

    Rendered in parallel processes; the content does not depend on their number. An interrupted call leaves a readable
    set, to which the next call appends.

    Args:
        progress: called with the number of scenes after each.

    Raises:
        StoreError: the directory holds something else, or a set with other settings.
    """
    writer = ViewWriter(config.directory, CELL_SPEC, image_size=IMAGE_PIXELS, labels=LABELS)
    for instants in _rendered(config, writer.episodes):
        writer.append(instants)
        if progress is not None:
            progress(writer.episodes)
    return writer.episodes * config.instants * config.cameras


def _rendered(config: ViewsConfig, done: int) -> Iterator[list[Instant]]:
    seeds = range(config.first_seed + done, config.first_seed + config.scenes)
    yield from in_order(
        map_unordered(_run_seed, seeds, workers=config.workers, setup=_begin_worker, setup_arguments=(config,)),
        seeds.start,
    )


def _view(
    state: SceneState,
    depth_camera: DepthCamera,
    image_camera: ImageCamera,
    geom_labels: NDArray[np.int64],
    number: int,
    rng: np.random.Generator,
    spec: ObservationSpec,
) -> View:
    """A view with enough points; cameras that see too few are drawn again."""
    for _ in range(_ATTEMPTS):
        fixed = number == _CELL_CAMERA
        T_base_depth = T_BASE_DEPTH if fixed else random_camera(rng)
        place_camera(state.model, T_base_depth)
        mujoco.mj_forward(state.model, state.data)
        depth = depth_camera.render(state.data, rng)
        try:
            cloud = build_cloud(depth, depth_camera.intrinsics, T_base_depth, spec)
        except TooFewPointsError:
            if fixed:
                state.place_robot(rng)
            continue
        image, image_depth = image_camera.image(state.data), image_camera.depth(state.data)
        labels = image_camera.labels(state.data, geom_labels)
        pose = T_base_depth @ T_DEPTH_COLOR
        camera = _CELL_CAMERA if fixed else _MOVING_CAMERA
        return View(cloud, image, image_depth, image_camera.intrinsics, pose, labels, camera)
    raise RuntimeError(f"no camera of {_ATTEMPTS} saw {spec.min_cloud_points} points of the scene")


def _instant(state: SceneState, scene: RandomScene, views: list[View], seed: int, spec: ObservationSpec) -> Instant:
    return Instant(
        views,
        proprioception(state.T_base_tcp, state.gripper_width_m, spec),
        scene.sentence,
        scene.instruction_id,
        {"seed": seed, "source": "randomised cell", "objects": [o.to_dict() for o in scene.objects]},
    )


_worker_config: ViewsConfig | None = None


def _begin_worker(config: ViewsConfig) -> None:
    global _worker_config
    cv2.setNumThreads(1)
    _worker_config = config


def _run_seed(seed: int) -> list[Instant]:
    assert _worker_config is not None
    return render_scene(seed, _worker_config)
