"""From rendered samples in a folder to a calibration file and its report; what is wrong with the folder is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clar_calibration import load_calibration
from clar_calibration.board import Board
from clar_calibration.planning import Plan, PlanError, PlanSettings, plan
from clar_calibration.problem import HandEye
from clar_calibration.quality import QualityLimits, check_quality, shortcomings
from clar_calibration.rendered import RenderedCell, relative_to_truth
from clar_calibration.result import CalibrationError
from clar_calibration.samples import Rig, Session, SessionError
from clar_calibration.simulated import T_TCP_BOARD
from clar_calibration.solver import SolveError
from clar_calibration.workflow import solve_session
from clar_core.cli.main import main
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import COLOR_INTRINSICS, T_BASE_DEPTH, T_DEPTH_COLOR
from clar_core.simulation.scene import HOME_JOINT_POSITIONS_RAD, MOTION_BOX_MAX_M, MOTION_BOX_MIN_M

HOME = np.array(HOME_JOINT_POSITIONS_RAD)
SETTINGS = PlanSettings(box_min_m=MOTION_BOX_MIN_M, box_max_m=MOTION_BOX_MAX_M)
VIEWS = 14


def make_plan(cell: RenderedCell, count: int, **changes: object) -> Plan:
    rough = cell.truth.X @ make_pose(rotation_vector_to_matrix((0.05, -0.05, 0.03)), (0.02, 0.03, -0.02))
    arguments: dict[str, object] = {
        "set_up": "eye_to_hand",
        "rough": HandEye(rough, T_TCP_BOARD),
        "board": cell.rig.board,
        "intrinsics": COLOR_INTRINSICS,
        "arm": cell.arm,
        "start_joints_rad": HOME,
        "settings": SETTINGS,
    }
    return plan(count, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cell() -> Iterator[RenderedCell]:
    with RenderedCell() as cell:
        yield cell


@pytest.fixture(scope="module")
def recorded(cell: RenderedCell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = Session(tmp_path_factory.mktemp("session"), cell.rig)
    random = np.random.default_rng(0)
    for joints in make_plan(cell, VIEWS).joints_rad:
        session.add(cell.sample(joints, random))
    return session.folder


def test_planned_poses_are_well_spread_reachable_and_inside_the_box(cell: RenderedCell) -> None:
    planned = make_plan(cell, VIEWS)
    assert len(planned.T_base_tcp) == VIEWS
    assert planned.rotation_spread_deg > 10.0
    positions = planned.T_base_tcp[:, :3, 3]
    assert (positions > MOTION_BOX_MIN_M).all()
    assert (positions < MOTION_BOX_MAX_M).all()
    for joints, T in zip(planned.joints_rad, planned.T_base_tcp, strict=True):
        assert relative_to_truth(T, cell.arm.pose(joints))[0] < 2.0


def test_a_pose_from_which_no_other_can_be_reached_does_not_end_the_plan(cell: RenderedCell) -> None:
    random = np.random.default_rng(9)  # the second pose on the shortest way is such a dead end

    def disturbed(T: np.ndarray, metres: float, degrees: float) -> np.ndarray:
        turn = rotation_vector_to_matrix(np.radians(random.uniform(-degrees, degrees, 3)))
        return T @ make_pose(turn, random.uniform(-metres, metres, 3))

    X = disturbed(disturbed(T_BASE_DEPTH, 0.03, 3.0) @ T_DEPTH_COLOR, 0.03, 3.0)
    planned = make_plan(cell, 24, rough=HandEye(X, disturbed(T_TCP_BOARD, 0.01, 3.0)), seed=9)
    assert len(planned.T_base_tcp) == 24


def test_a_plan_that_is_impossible_says_what_rules_it_out(cell: RenderedCell) -> None:
    tiny = PlanSettings(box_min_m=(0.4, -0.05, 0.05), box_max_m=(0.5, 0.05, 0.12))
    with pytest.raises(PlanError, match="of 12 poses are possible; candidates failed because"):
        make_plan(cell, 12, settings=tiny)


def test_rendered_samples_give_the_cameras_pose_the_depths_bias_and_a_report(
    cell: RenderedCell, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "calibration.yaml"
    output.write_text("an older file\n")
    assert (
        main(["calibrate", "solve", str(recorded), "--output", str(output), "--report", str(tmp_path / "r.html")]) == 0
    )
    result = load_calibration(output)
    millimetres, degrees = relative_to_truth(cell.T_parent_depth, result.T_base_optical)
    assert millimetres < 1.0
    assert degrees < 0.1
    assert abs(result.quality["depth"]["at_work_mm"]) < 2.0
    assert result.quality["lens_px"]["inverse_brown_conrady"] < result.quality["lens_px"]["brown_conrady"]
    assert {"clar", "numpy", "scipy"} <= set(result.software)
    check_quality(result)
    assert (tmp_path / "calibration.yaml.previous").read_text() == "an older file\n"
    assert (tmp_path / "r.html").read_text().count("data:image/jpeg") == -(-VIEWS // 4)
    assert "error in the working area at most" in capsys.readouterr().out


def test_a_poor_calibration_is_refused_with_every_shortcoming(recorded: Path) -> None:
    result = solve_session(Session(recorded)).result
    limits = QualityLimits(views=50, at_work_mm=0.001)
    assert len(shortcomings(result, limits)) == 2
    with pytest.raises(
        CalibrationError, match=r"calibration is poor: .*working area.*; views 14, expected at least 50"
    ):
        check_quality(result, limits)


def test_a_result_edited_by_hand_is_noticed(recorded: Path, tmp_path: Path) -> None:
    from clar_calibration import save_calibration

    save_calibration(solve_session(Session(recorded)).result, tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text.replace("views: 14", "views: 40"))
    with pytest.raises(CalibrationError, match="the file was changed after it was written"):
        load_calibration(tmp_path / "c.yaml")


def test_a_session_goes_on_where_it_ended_and_refuses_another_board(recorded: Path, cell: RenderedCell) -> None:
    again = Session(recorded, cell.rig)
    assert len(again) == VIEWS
    with pytest.raises(SessionError, match="samples of another board"):
        Session(recorded, Rig(**{**vars(cell.rig), "board": Board.apriltags()}))


def test_a_camera_on_the_hand_is_calibrated_the_same_way(tmp_path: Path) -> None:
    with RenderedCell(
        "eye_in_hand",
        T_parent_depth=make_pose(rotation_vector_to_matrix((0.2, 0.0, 0.785)), (-0.05, -0.09, -0.13)),
        T_carrier_board=make_pose([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], (0.60, 0.13, 0.002)),
    ) as hand:
        rough = HandEye(hand.truth.X @ make_pose(rotation_vector_to_matrix((0.04, -0.04, 0.03))), hand.truth.Y)
        planned = make_plan(hand, VIEWS, set_up="eye_in_hand", rough=rough)
        session = Session(tmp_path / "session", hand.rig)
        random = np.random.default_rng(1)
        for joints in planned.joints_rad:
            session.add(hand.sample(joints, random))
        result = solve_session(session).result
    assert (result.set_up, result.base_frame) == ("eye_in_hand", "fr3_hand_tcp")
    millimetres, degrees = relative_to_truth(hand.T_parent_depth, result.T_base_optical)
    assert millimetres < 1.5
    assert degrees < 0.2


def test_a_board_of_apriltags_gives_the_cameras_pose_as_well(tmp_path: Path) -> None:
    with RenderedCell(board=Board.apriltags()) as tags:
        session = Session(tmp_path / "session", tags.rig)
        random = np.random.default_rng(2)
        for joints in make_plan(tags, VIEWS).joints_rad:
            session.add(tags.sample(joints, random))
        result = solve_session(session).result
    millimetres, degrees = relative_to_truth(tags.T_parent_depth, result.T_base_optical)
    assert millimetres < 1.5
    assert degrees < 0.2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "color_003.png").unlink(), "color_003.png: missing or no picture"),
        (lambda folder: (folder / "session.json").write_text("{"), "session.json: cannot be read as JSON"),
        (lambda folder: (folder / "session.json").unlink(), "no such file; record samples"),
        (
            lambda folder: _edit(folder, "samples", 2, "T_base_tcp", [[1]]),
            r"samples\[2\]: T_base_tcp: expected a rigid",
        ),
    ],
)
def test_a_damaged_session_is_named_by_file_and_field(recorded: Path, tmp_path: Path, damage, message: str) -> None:
    folder = tmp_path / "session"
    shutil.copytree(recorded, folder)
    damage(folder)
    with pytest.raises(SessionError, match=message):
        solve_session(Session(folder))


def test_too_few_views_say_what_became_of_the_others(recorded: Path) -> None:
    with pytest.raises(SolveError, match="too few views: 0 of 14 samples; the others: no board in view"):
        solve_session(Session(recorded).with_board(Board.apriltags()))


def _edit(folder: Path, *path: object) -> None:
    *keys, last, value = path
    content = json.loads((folder / "session.json").read_text())
    place = content
    for key in keys:
        place = place[key]
    place[last] = value
    (folder / "session.json").write_text(json.dumps(content))
