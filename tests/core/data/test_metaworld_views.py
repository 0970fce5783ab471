"""Views of MetaWorld's scenes, in the true environments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.cli import views as command
from clar_core.data.metaworld import METAWORLD_SPEC, MetaWorldCell
from clar_core.data.metaworld_views import LABELS, MetaWorldViewsConfig, make_metaworld_views
from clar_core.data.views import Views
from clar_core.geometry.camera import deproject
from clar_core.geometry.poses import transform_points
from clar_core.models.teachers.rendered import RenderedTeacher

pytest.importorskip("metaworld")

CONFIG = MetaWorldViewsConfig(tasks=("button-press",), scenes=1, instants=2, cameras=2, workers=1)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    directory = tmp_path_factory.mktemp("views") / "set"
    assert make_metaworld_views(replace(CONFIG, directory=directory)) == 4
    return Views(directory)


def test_they_are_seen_in_the_box_of_the_policies_and_say_what_the_task_is(views: Views) -> None:
    assert not views.spec.differences(METAWORLD_SPEC)
    assert {info["instruction_id"] for info in views.infos} == {"button-press"}
    assert all("button" in sentence or "press" in sentence for sentence in views.sentences)
    assert {info["seed"] for info in views.infos} == {CONFIG.first_seed}
    RenderedTeacher(views.labels).images(views.read("image"), views.read("labels"))


def test_the_first_camera_is_that_of_the_demonstrations_and_the_others_stand_elsewhere(views: Views) -> None:
    assert views.read("camera").tolist() == [0, -1, 0, -1]
    poses = views.read("T_base_image")
    np.testing.assert_array_equal(poses[0], poses[2])
    assert np.linalg.norm(poses[1, :3, 3] - poses[3, :3, 3]) > 0.01
    cell = MetaWorldCell("button-press", "corner", 160, 120)
    try:
        np.testing.assert_allclose(poses[0, :3, 3], cell.T_world_camera[:3, 3])
        for pose in poses:
            assert np.linalg.norm(pose[:3, 3] - cell.pose_of("corner2")[:3, 3]) > 0.01
    finally:
        cell.close()


def test_labels_and_depth_belong_to_the_same_pixels(views: Views) -> None:
    labels, depth = views.read("labels"), views.read("image_depth")
    compared = []
    for number, (intrinsics, pose) in enumerate(zip(views.intrinsics(), views.read("T_base_image"), strict=True)):
        for label, lowest, highest in (("table", -0.02, 0.07), ("button", 0.0, 0.35)):
            seen = np.where(labels[number] == LABELS.index(label), depth[number], 0).astype(np.uint16)
            points = deproject(seen, intrinsics, depth_scale_m=0.001, depth_min_m=0.1, depth_max_m=4.0)
            height = transform_points(pose, points.astype(np.float64))
            inside = height[(abs(height[:, 0]) < 0.3) & (height[:, 1] > 0.5) & (height[:, 1] < 0.85), 2]
            if len(inside) > 20:
                assert lowest < np.median(inside) < highest, (number, label)
                compared.append(label)
    assert compared.count("table") == 4
    assert compared.count("button") >= 2


def test_an_interrupted_set_goes_on_and_is_as_if_made_at_once(views: Views, tmp_path: Path) -> None:
    longer = replace(CONFIG, directory=tmp_path / "set", scenes=2)
    make_metaworld_views(replace(longer, scenes=1))
    np.testing.assert_array_equal(Views(longer.directory).read("cloud"), views.read("cloud"))
    done: list[int] = []
    assert make_metaworld_views(longer, done.append) == 8
    assert done == [2]
    at_once = replace(longer, directory=tmp_path / "at_once")
    make_metaworld_views(at_once)
    for name in ("cloud", "image", "image_depth", "labels", "T_base_image"):
        np.testing.assert_array_equal(Views(at_once.directory).read(name), Views(longer.directory).read(name), name)


def test_tasks_take_turns_and_wrong_settings_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    both = replace(CONFIG, tasks=("reach", "dial-turn"), scenes=32)
    tasks = [both.task_of(scene) for scene in range(32)]
    assert tasks.count("reach") == tasks.count("dial-turn") == 16
    with pytest.raises(ValueError, match="scenes: expected a positive number"):
        replace(CONFIG, scenes=0)
    assert command.main(["metaworld", "--tasks", "reech", "--directory", str(tmp_path / "set"), "--workers", "1"]) == 1
    assert "MetaWorld has no 'reech'" in capsys.readouterr().err
