"""A camera that moved is noticed, objects and arm that moved are not taken for it; and the arm against its model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from clar_calibration.arm_in_cloud import ArmNotSeenError, Posture, check_arm
from clar_calibration.arm_shape import ArmShape
from clar_calibration.reference import Scene, arm_mask, load_scene, make_scene, save_scene
from clar_calibration.rendered import RenderedCell, relative_to_truth
from clar_calibration.result import CalibrationError
from clar_calibration.scene_check import SceneError, check_scene
from clar_calibration.simulated import simulated_calibration
from clar_core.geometry.poses import Array, make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS, T_BASE_DEPTH, T_DEPTH_COLOR
from clar_core.simulation.scene import HOME_JOINT_POSITIONS_RAD
from clar_core.simulation.tasks import get_task

HOME = np.array(HOME_JOINT_POSITIONS_RAD)


@pytest.fixture(scope="module")
def cell() -> Iterator[RenderedCell]:
    with RenderedCell() as cell:
        yield cell


@pytest.fixture(scope="module")
def shape(cell: RenderedCell) -> ArmShape:
    return ArmShape(cell.model)


@pytest.fixture(scope="module")
def reference(cell: RenderedCell, shape: ArmShape) -> Scene:
    return look(cell, shape, seed=0, joints=HOME)


def look(
    cell: RenderedCell, shape: ArmShape, *, seed: int, joints: Array | None = None, moved: Array | None = None
) -> Scene:
    random = np.random.default_rng(seed)
    get_task("place_cube_in_basin").reset(cell.model, cell.data, random)
    joints = HOME + random.uniform(-0.15, 0.15, 7) if joints is None else joints
    cell.place(T_BASE_DEPTH if moved is None else T_BASE_DEPTH @ moved)
    cell.show(joints)
    board = cell.arm.pose(joints) @ cell.truth.Y
    outline = cell.rig.board.outline
    mask = arm_mask(joints, 0.08, T_BASE_DEPTH, DEPTH_INTRINSICS, shape, T_base_board=board, outline=outline)
    depths, colors = [cell.depth(random) for _ in range(4)], [cell.color(random)]
    return make_scene(depths, colors, DEPTH_INTRINSICS, COLOR_INTRINSICS, T_DEPTH_COLOR, mask)


@pytest.mark.parametrize("seed", range(1, 5))
def test_other_objects_and_another_posture_are_no_moved_camera(
    cell: RenderedCell, shape: ArmShape, reference: Scene, seed: int
) -> None:
    check = check_scene(reference, look(cell, shape, seed=seed))
    assert not check.moved, str(check)
    assert not check.doubt


@pytest.mark.parametrize(
    ("moved", "millimetres", "degrees"),
    [
        (make_pose(None, (0.003, 0.0, 0.0)), 3.0, 0.0),
        (make_pose(None, (0.0, -0.002, 0.0022)), 3.0, 0.0),
        (make_pose(rotation_vector_to_matrix((0.0, np.radians(0.3), 0.0))), 0.0, 0.3),
        (make_pose(rotation_vector_to_matrix((0.0, 0.0, np.radians(-0.3)))), 0.0, 0.3),
        (make_pose(rotation_vector_to_matrix((0.0, np.radians(6.0), 0.0)), (0.05, 0.0, 0.0)), None, None),
    ],
)
def test_a_moved_camera_is_noticed_with_the_size_of_its_displacement(
    cell: RenderedCell,
    shape: ArmShape,
    reference: Scene,
    moved: Array,
    millimetres: float | None,
    degrees: float | None,
) -> None:
    check = check_scene(reference, look(cell, shape, seed=7, moved=moved))
    assert check.moved, str(check)
    assert "the camera has moved" in str(check)
    if millimetres is not None:
        assert check.distance_mm == pytest.approx(millimetres, abs=1.2)
        assert check.angle_deg == pytest.approx(degrees, abs=0.1)
        assert relative_to_truth(moved, check.T_reference_now)[0] < 1.2


def test_another_camera_and_a_covered_one_are_named(cell: RenderedCell, shape: ArmShape, reference: Scene) -> None:
    now = look(cell, shape, seed=1)
    with pytest.raises(SceneError, match="intrinsics are others than at calibration"):
        check_scene(reference, replace(now, depth=replace(DEPTH_INTRINSICS, fx=400.0)))
    with pytest.raises(SceneError, match="covered, or dark"):
        check_scene(reference, replace(now, depth_m=np.zeros_like(now.depth_m)))


def test_a_stored_scene_is_the_same_and_a_changed_file_is_refused(reference: Scene, tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.yaml"
    entry = save_scene(reference, tmp_path / "calibration.scene.safetensors")
    result = replace(simulated_calibration(), date=datetime.now(UTC), reference=entry)
    stored = load_scene(result, calibration)
    np.testing.assert_allclose(stored.depth_m, reference.depth_m, atol=1e-5)
    np.testing.assert_array_equal(stored.static, reference.static)
    assert (stored.depth, stored.color) == (reference.depth, reference.color)
    with pytest.raises(CalibrationError, match="reference: none"):
        load_scene(simulated_calibration(), calibration)
    (tmp_path / "calibration.scene.safetensors").write_bytes(b"something else")
    with pytest.raises(CalibrationError, match="its content is not the one that"):
        load_scene(result, calibration)
    (tmp_path / "calibration.scene.safetensors").unlink()
    with pytest.raises(CalibrationError, match=r"missing, .* names it as its reference scene"):
        load_scene(result, calibration)


@pytest.mark.parametrize(("off_mm", "axis"), [(0.0, 0), (5.0, 0), (5.0, 1), (5.0, 2)])
def test_the_arm_in_the_depth_image_shows_what_the_calibration_is_off_by(
    cell: RenderedCell, shape: ArmShape, off_mm: float, axis: int
) -> None:
    random = np.random.default_rng(5)
    cell.place(T_BASE_DEPTH)
    samples = [cell.sample(HOME + random.uniform(-0.25, 0.25, 7), random) for _ in range(3)]
    postures = [Posture(s.depth, s.joints_rad) for s in samples if s.depth is not None and s.joints_rad is not None]
    off = np.zeros(3)
    off[axis] = off_mm * 1e-3
    found = check_arm(postures, make_pose(None, off) @ T_BASE_DEPTH, DEPTH_INTRINSICS, shape)
    np.testing.assert_allclose(found.shift_mm, off * 1e3, atol=1.5)
    assert found.angle_deg < 0.5
    assert "beside its model" in str(found)


def test_an_arm_that_is_not_in_the_picture_is_named(cell: RenderedCell, shape: ArmShape) -> None:
    empty = Posture(np.zeros((480, 640), dtype=np.uint16), HOME)
    with pytest.raises(ArmNotSeenError, match="only 0 pixels show the arm"):
        check_arm([empty], T_BASE_DEPTH, DEPTH_INTRINSICS, shape)
