from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clar_core.data.views import Instant, Views
from clar_core.geometry.camera import project
from clar_core.geometry.poses import inverse, transform_points
from clar_core.simulation.objects import CLASSES, COLORS, HELD_OUT_CLASSES, make_object
from clar_core.simulation.randomized import HAND, LABELS, draw_scene
from clar_core.simulation.views import ViewsConfig, make_views, render_scene

CONFIG = ViewsConfig(instants=2, cameras=2, workers=1)


@pytest.fixture(scope="module")
def instants() -> list[Instant]:
    return render_scene(4, CONFIG)


def test_points_lie_where_the_image_beside_them_has_its_depth(instants: list[Instant]) -> None:
    for instant in instants:
        for view in instant.views:
            optical = transform_points(inverse(view.T_base_image), view.cloud.astype(np.float64))
            pixels = project(optical, view.intrinsics)
            u, v = np.rint(pixels).astype(int).T
            seen = (u >= 0) & (u < 224) & (v >= 0) & (v < 224)
            error = np.abs(optical[seen, 2] - view.image_depth[v[seen], u[seen]] * 1e-3)
            assert seen.mean() > 0.5
            # Noise of the depth camera, and the 6 cm between its lens and the colour camera's at edges.
            assert np.median(error) < 0.006
            assert np.percentile(error, 80) < 0.02


def test_the_fixed_camera_stands_still_and_the_others_do_not(instants: list[Instant]) -> None:
    (first, moved), (second, elsewhere) = (instant.views for instant in instants)
    assert (first.camera, moved.camera) == (0, -1)
    np.testing.assert_array_equal(first.T_base_image, second.T_base_image)
    assert np.abs(moved.T_base_image - elsewhere.T_base_image).max() > 0.05


def test_the_robot_moves_between_instants_and_the_objects_do_not(instants: list[Instant]) -> None:
    assert np.abs(instants[0].state[:3] - instants[1].state[:3]).max() > 0.01
    assert instants[0].info["objects"] == instants[1].info["objects"]


def test_segmentation_names_the_objects_and_the_hand(instants: list[Instant]) -> None:
    kinds = {o["kind"] for o in instants[0].info["objects"]}
    found: set[str] = set()
    for instant in instants:
        for view in instant.views:
            assert view.labels is not None
            found |= {LABELS[i] for i in np.unique(view.labels)}
    assert HAND in found
    assert found & set(CLASSES) <= kinds
    assert found & kinds


def test_the_sentence_is_about_an_object_of_the_scene(instants: list[Instant]) -> None:
    target = instants[0].info["objects"][0]
    assert instants[0].instruction_id == f"{target['color']} {target['kind']}"
    assert instants[0].instruction_id in instants[0].sentence


def test_a_scene_is_a_function_of_its_seed(instants: list[Instant]) -> None:
    again = render_scene(4, CONFIG)
    np.testing.assert_array_equal(again[1].views[1].cloud, instants[1].views[1].cloud)
    np.testing.assert_array_equal(again[1].views[1].image, instants[1].views[1].image)


def test_an_interrupted_set_is_continued_where_it_was(tmp_path: Path) -> None:
    config = replace(CONFIG, instants=1, cameras=1, directory=tmp_path / "set")

    def stop(done: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_views(replace(config, scenes=2), stop)
    assert make_views(replace(config, scenes=2)) == 2
    views = Views(config.directory)
    assert [info["seed"] for info in views.infos] == [0, 1]
    assert make_views(replace(config, scenes=2)) == 2


def test_objects_stand_on_the_table_and_fill_their_box() -> None:
    rng = np.random.default_rng(0)
    for kind in CLASSES:
        for _ in range(5):
            made = make_object(kind, "red", 0.5, 0.0, 0.3, rng)
            assert 0.01 < made.height_m < 0.30
            assert 0.015 < made.radius_m < 0.20
            assert made.position_m[2] == pytest.approx(made.height_m / 2)


def test_held_out_classes_are_not_in_training_scenes_and_objects_keep_apart() -> None:
    for seed in range(30):
        scene = draw_scene(np.random.default_rng(seed), CONFIG.kinds, (2, 5))
        assert not {o.kind for o in scene.objects} & set(HELD_OUT_CLASSES)
        assert {o.color for o in scene.objects} <= set(COLORS)
        for i, a in enumerate(scene.objects):
            for b in scene.objects[:i]:
                apart = np.hypot(a.position_m[0] - b.position_m[0], a.position_m[1] - b.position_m[1])
                assert apart > a.radius_m + b.radius_m
    assert set(replace(CONFIG, classes="all").kinds) == set(CLASSES)
