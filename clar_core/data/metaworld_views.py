"""Posed RGB-D views of MetaWorld's scenes, to pre-train an encoder in the crop box that its policies see.

A scene is a start of a task that its scripted policy has brought to some step. One camera, ``corner``, never moves; the
others look at the table from random places. ``corner2``, which the table of moved cameras tests under, is none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.data.metaworld import DEFAULT_CAMERA, METAWORLD_SPEC, MetaWorldCell
from clar_core.data.metaworld_tasks import DIFFICULTIES, MULTI_TASK, sentences_of
from clar_core.data.views import Instant, View, ViewWriter
from clar_core.geometry.poses import Array
from clar_core.observation.builder import TooFewPointsError
from clar_core.simulation.camera import look_at
from clar_core.workers import in_order, map_unordered

IMAGE_PIXELS = 224
LABELS = (
    "background", "table", "arm", "hand", "goal", "object",
    "bin", "box", "button", "cube", "dial", "hammer", "handle", "lever", "lid", "nut", "peg", "puck", "shelf",
    "socket", "wall",
)  # fmt: skip
"""Names of segmentation labels: a label is an index into this. A thing is named as sentences name it, where they do."""

_OBJECTS: dict[str, dict[str, str]] = {
    "reach": {"obj": "puck"},
    "lever-pull": {"lever": "lever"},
    "handle-pull": {"box": "handle"},
    "peg-unplug-side": {"plug1": "peg", "box": "socket"},
    "dial-turn": {"dial": "dial"},
    "hammer": {"hammerbody": "hammer", "box": "box"},
    "sweep-into": {"obj": "cube"},
    "bin-picking": {"obj": "cube", "bin_start": "bin", "bin_goal": "bin"},
    "push-wall": {"obj": "puck", "wall": "wall"},
    "box-close": {"boxbody": "box", "boxbodytop": "lid"},
    "assembly": {"RoundNut": "nut", "peg": "peg"},
    "hand-insert": {"obj": "cube"},
    "shelf-place": {"obj": "cube", "shelf": "shelf"},
    "pick-place-wall": {"obj": "puck", "wall": "wall"},
    "disassemble": {"RoundNut": "nut", "peg": "peg"},
    "button-press": {"box": "button"},
}
"""What stands on the table: the label of each body that hangs on the world, by task."""

_SCENERY = {"tablelink": "table", "RetainingWall": "table", "mocap": "background", "world": "background"}
_ROBOT = "base"
_HAND = ("hand", "claw", "pad")
_MOVED_CAMERA = "corner3"
_FIXED, _MOVING = 0, -1
_LATEST_STEP = 100
"""Scenes are seen up to this step of a demonstration's 200."""
_BLOCK = 8
"""Scenes of one task in a row: making an environment takes as long as rendering a scene."""
_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class MetaWorldViewsConfig:
    """What to render.

    Attributes:
        directory: set of views to create, or to append to.
        tasks: of MetaWorld; the paper's when left out.
        scenes: how many in all; an interrupted call goes on.
        instants: steps of the scripted policy at which a scene is seen.
        cameras: views of an instant; the first is ``corner``, the others stand anywhere.
        first_seed: of the starts; far from those of demonstrations, from 0 on, and of trials.
        width, height: of the depth images.
        workers: processes; all cores when None.
    """

    directory: Path = Path("outputs/data/metaworld_views")
    tasks: tuple[str, ...] = tuple(dict.fromkeys([*(t for ts in DIFFICULTIES.values() for t in ts), *MULTI_TASK]))
    scenes: int = 640
    instants: int = 2
    cameras: int = 4
    first_seed: int = 5_000_000
    width: int = 320
    height: int = 240
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("scenes", "instants", "cameras"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not self.tasks:
            raise ValueError("tasks: expected at least one")

    def task_of(self, scene: int) -> str:
        """Of a scene by its number: each task in turn, a few scenes at a time."""
        return self.tasks[scene // _BLOCK % len(self.tasks)]


def make_metaworld_views(config: MetaWorldViewsConfig, progress: Callable[[int], Any] | None = None) -> int:
    """Bring a set of views to its number of scenes; returns the views in it.

    Rendered in parallel processes; the content does not depend on their number. An interrupted call leaves a readable
    set, to which the next call appends.

    Args:
        progress: called with the number of scenes after each.

    Raises:
        ImportError: MetaWorld is not installed.
        ValueError: it has no such task.
        StoreError: the directory holds something else, or a set with other settings.
        WorkerDiedError: a worker ended without an answer.
    """
    writer = ViewWriter(config.directory, METAWORLD_SPEC, image_size=IMAGE_PIXELS, labels=LABELS)
    for instants in _rendered(config, writer.episodes):
        writer.append(instants)
        if progress is not None:
            progress(writer.episodes)
    return writer.episodes * config.instants * config.cameras


def render_scene(cell: MetaWorldCell, task: str, seed: int, config: MetaWorldViewsConfig) -> list[Instant]:
    """The instants of one scene of a task, a function of the seed alone; ``cell`` is left at its last step."""
    rng = np.random.default_rng((seed, 11))
    sentences = sentences_of(task)
    observation = cell.reset(seed)
    instants: list[Instant] = []
    step = 0
    for wanted in np.sort(rng.integers(0, _LATEST_STEP, config.instants)):
        while step < wanted:
            action = np.clip(cell.policy.get_action(observation), -1.0, 1.0)
            observation, *_ = cell.env.step(action.astype(np.float32))
            step += 1
        views = [_view(cell, task, number, rng) for number in range(config.cameras)]
        state = cell.state(observation, METAWORLD_SPEC)
        info = {"seed": seed, "source": "metaworld", "task": task, "step": step}
        instants.append(Instant(views, state, sentences[seed % len(sentences)], task, info))
    return instants


def _view(cell: MetaWorldCell, task: str, number: int, rng: np.random.Generator) -> View:
    """A view with enough points; cameras that see too few are drawn again."""
    fixed = number == _FIXED
    for _ in range(_ATTEMPTS):
        if fixed:
            cell.look_from(DEFAULT_CAMERA)
        else:
            cell.look_from(_MOVED_CAMERA, random_camera(rng))
        try:
            cloud = cell.cloud(METAWORLD_SPEC)
        except TooFewPointsError:
            continue
        posed = cell.posed_image(IMAGE_PIXELS)
        shown = _labels_of(cell, task)
        camera = _FIXED if fixed else _MOVING
        return View(cloud, posed.image, posed.depth, posed.intrinsics, posed.T_base_image, shown, camera)
    raise ValueError(
        f"{task}: none of {_ATTEMPTS} cameras saw {METAWORLD_SPEC.min_cloud_points} points of the scene; render larger "
        "(--width, --height)"
    )


def random_camera(rng: np.random.Generator) -> Array:
    """``T_world_camera`` that looks at the table's middle from somewhere around it, 0.9 to 1.7 m away."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(0.35, 1.25)
    distance = rng.uniform(0.9, 1.7)
    target = np.array([0.0, 0.65, 0.10]) + rng.uniform(-0.12, 0.12, 3) * (1.0, 1.0, 0.5)
    direction = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation))
    x, y, z = target + distance * np.array(direction)
    return look_at((x, y, z), (float(target[0]), float(target[1]), float(target[2])))


def _labels_of(cell: MetaWorldCell, task: str) -> NDArray[np.uint8]:
    """Labels (S, S) uint8 of the image's pixels, each an index into ``LABELS``."""
    import mujoco

    model = cell.env.model
    number, kind = np.moveaxis(cell.segmentation(IMAGE_PIXELS), -1, 0)
    shown = np.zeros(number.shape, dtype=np.uint8)
    for of_kind, bodies, thing in (
        (mujoco.mjtObj.mjOBJ_GEOM, model.geom_bodyid, "object"),
        (mujoco.mjtObj.mjOBJ_SITE, model.site_bodyid, "goal"),
    ):
        labels = np.array([LABELS.index(_label(model, int(body), task, thing)) for body in bodies], dtype=np.uint8)
        here = kind == of_kind
        shown[here] = labels[number[here]]
    return shown


def _label(model: Any, body: int, task: str, thing: str) -> str:
    """Of what belongs to a body; ``thing`` of what is neither robot, nor scenery, nor a known object."""
    name, root = model.body(body).name, model.body(int(model.body_rootid[body])).name
    if root == _ROBOT:
        return "hand" if any(part in name for part in _HAND) else "arm"
    if thing == "goal":
        return thing
    return _SCENERY.get(root) or _OBJECTS.get(task, {}).get(root, thing)


def _rendered(config: MetaWorldViewsConfig, done: int) -> Iterator[list[Instant]]:
    scenes = range(done, config.scenes)
    yield from in_order(
        map_unordered(_run_scene, scenes, workers=config.workers, setup=_begin_worker, setup_arguments=(config,)),
        done,
    )


_config: MetaWorldViewsConfig
_cell: tuple[str, MetaWorldCell] | None = None


def _begin_worker(config: MetaWorldViewsConfig) -> None:
    global _config
    cv2.setNumThreads(1)
    _config = config


def _run_scene(scene: int) -> list[Instant]:
    global _cell
    task = _config.task_of(scene)
    if _cell is None or _cell[0] != task:
        if _cell is not None:
            _cell[1].close()
        _cell = (task, MetaWorldCell(task, DEFAULT_CAMERA, _config.width, _config.height))
    return render_scene(_cell[1], task, _config.first_seed + scene, _config)
