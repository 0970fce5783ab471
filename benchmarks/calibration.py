"""Calibration against a known truth: rendered boards in the simulated cell, joint noise, grey noise, depth noise.

Each run has a camera somewhere else, plans twenty poses from a rough guess, renders what the camera sees there, and
solves. OpenCV's closed forms solve the same views. Then the camera is moved, or not, behind a scene with other objects,
another posture of the arm and another brightness, and the check must tell. ``--live`` runs the launch file, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import Benchmark
from tqdm import tqdm

from clar_calibration import load_calibration
from clar_calibration.arm_in_cloud import Posture, check_arm
from clar_calibration.arm_shape import ArmShape
from clar_calibration.closed_form import METHODS
from clar_calibration.detection import Detection, DetectionError, detect
from clar_calibration.planning import PlanError, PlanSettings, plan
from clar_calibration.problem import HandEye
from clar_calibration.reference import Scene, arm_mask, make_scene
from clar_calibration.rendered import RenderedCell, relative_to_truth
from clar_calibration.scene_check import check_scene
from clar_calibration.solver import Solution, solve
from clar_core.geometry.poses import Array, delta_between, make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import COLOR_INTRINSICS, DEPTH_INTRINSICS, T_BASE_DEPTH, T_DEPTH_COLOR
from clar_core.simulation.scene import HOME_JOINT_POSITIONS_RAD, MOTION_BOX_MAX_M, MOTION_BOX_MIN_M
from clar_core.simulation.tasks import get_task

POSES = 20
TRANSLATION_MM, ROTATION_DEG = 1.0, 0.1
COVERAGE = 0.9
SHIFT_M, TURN_RAD = 0.003, np.radians(0.3)
DETECTED = 0.95
LIVE_S = 240.0
HOME = np.array(HOME_JOINT_POSITIONS_RAD)
SETTINGS = PlanSettings(box_min_m=MOTION_BOX_MIN_M, box_max_m=MOTION_BOX_MAX_M)


def disturbed(T: Array, random: np.random.Generator, metres: float, degrees: float) -> Array:
    """A pose some centimetres and degrees elsewhere."""
    turn = rotation_vector_to_matrix(np.radians(random.uniform(-degrees, degrees, 3)))
    return T @ make_pose(turn, random.uniform(-metres, metres, 3))


def one_calibration(cell: RenderedCell, seed: int) -> tuple[Solution, list[Posture]] | None:
    """Plan, render and solve; None when the plan finds no twenty poses for this camera."""
    random = np.random.default_rng(seed)
    cell.place(disturbed(T_BASE_DEPTH, random, 0.03, 3.0))
    rough = HandEye(disturbed(cell.truth.X, random, 0.03, 3.0), disturbed(cell.truth.Y, random, 0.01, 3.0))
    try:
        planned = plan(
            POSES + 4,
            set_up="eye_to_hand",
            rough=rough,
            board=cell.rig.board,
            intrinsics=COLOR_INTRINSICS,
            arm=cell.arm,
            start_joints_rad=HOME,
            settings=SETTINGS,
            seed=seed,
        )
    except PlanError:
        return None
    poses: list[Array] = []
    detections: list[Detection] = []
    postures: list[Posture] = []
    for joints in planned.joints_rad:
        if len(poses) == POSES:
            break
        sample = cell.sample(joints, random)
        try:
            detections.append(detect(sample.color, cell.rig.board))
        except DetectionError:
            continue
        poses.append(sample.T_base_tcp)
        assert sample.depth is not None
        assert sample.joints_rad is not None
        postures.append(Posture(sample.depth, sample.joints_rad))
    return solve("eye_to_hand", np.array(poses), detections, cell.rig.board, COLOR_INTRINSICS), postures


def calibrations(bench: Benchmark, runs: int) -> None:
    """Accuracy, coverage of the intervals, and the closed forms beside it."""
    ours, others, inside, per_axis, arm = [], {name: [] for name in METHODS}, [], [], []
    unplanned = 0
    with RenderedCell() as cell, tqdm(total=runs, desc="calibrations") as bar:
        shape = ArmShape(cell.model)
        seed = 0
        while len(ours) < runs and seed < 2 * runs + 10:
            found = one_calibration(cell, seed)
            seed += 1
            if found is None:
                unplanned += 1
                continue
            solution, postures = found
            truth, X = cell.truth.X, solution.hand_eye.X
            mm, deg = relative_to_truth(truth, X)
            translation, rotation = delta_between(truth, X)
            interval = solution.interval
            ours.append((mm, deg, solution.held_out_mm, interval.at_work_mm, len(solution.used)))
            inside.append((mm <= interval.distance_mm, deg <= interval.angle_deg))
            per_axis.append(
                np.concatenate(
                    [
                        np.abs(translation) * 1e3 <= interval.translation_mm,
                        np.degrees(np.abs(rotation)) <= interval.rotation_deg,
                    ]
                )
            )
            for name, start in solution.starts.items():
                others[name].append(relative_to_truth(truth, start.X))
            if len(arm) < 20:
                arm.append(check_arm(postures, cell.T_parent_depth, DEPTH_INTRINSICS, shape).distance_mm)
            bar.update()
    figures = np.array(ours)
    noise = "rendered board, joint noise 0.02 degrees, grey noise 2, true camera"
    bench.claim(f"translation, median of {len(ours)} runs", np.median(figures[:, 0]), "mm", at_most=TRANSLATION_MM)
    bench.claim("rotation, median", np.median(figures[:, 1]), "deg", at_most=ROTATION_DEG, reference=noise)
    bench.claim("translation, 95th percentile", np.percentile(figures[:, 0], 95), "mm")
    bench.claim("rotation, 95th percentile", np.percentile(figures[:, 1], 95), "deg")
    for name, errors in others.items():
        mm, deg = np.median(errors, axis=0)
        bench.claim(f"{name} alone, translation", mm, "mm", reference="OpenCV's closed form, same views")
        bench.claim(f"{name} alone, rotation", deg, "deg")
    best = min(float(np.median(errors, axis=0)[0]) for errors in others.values())
    bench.claim("translation over the best closed form's", np.median(figures[:, 0]) / best, "", at_most=1.0)
    bench.claim("truth within the bound of the distance", np.mean(inside, axis=0)[0], "", at_least=COVERAGE)
    bench.claim("truth within the bound of the angle", np.mean(inside, axis=0)[1], "", at_least=COVERAGE)
    bench.claim("truth within the 95 % intervals of the axes", np.mean(per_axis), "", at_least=COVERAGE)
    bench.claim("bound in the working area, median", np.median(figures[:, 3]), "mm")
    bench.claim("hold-out error, median", np.median(figures[:, 2]), "mm")
    bench.claim("views used, mean", figures[:, 4].mean(), "of 20")
    bench.claim("cameras without a plan of twenty poses", unplanned, "")
    bench.claim("arm against its model at the true camera, largest", max(arm), "mm", at_most=3.0)


def look(
    cell: RenderedCell, joints: Array, random: np.random.Generator, shape: ArmShape, *, gain: float = 1.0
) -> Scene:
    """The scene as scene_check sees it: six depth and two colour frames, arm and board masked where they should be."""
    cell.show(joints)
    depths = [cell.depth(random) for _ in range(6)]
    colors = [np.clip(cell.color(random) * gain, 0, 255).astype(np.uint8) for _ in range(2)]
    board = cell.arm.pose(joints) @ cell.truth.Y
    mask = arm_mask(
        joints, 0.08, T_BASE_DEPTH, DEPTH_INTRINSICS, shape, T_base_board=board, outline=cell.rig.board.outline
    )
    return make_scene(depths, colors, DEPTH_INTRINSICS, COLOR_INTRINSICS, T_DEPTH_COLOR, mask)


def checks(bench: Benchmark, undisturbed: int, shifted: int) -> None:
    """Detection of small displacements, and false alarms."""
    with RenderedCell() as cell:
        shape = ArmShape(cell.model)
        reference = look(cell, HOME, np.random.default_rng(0), shape)
        answers: dict[str, list[bool]] = {"none": [], "shift": [], "turn": []}
        errors_mm, errors_deg, seconds = [], [], []
        kinds = ["none"] * undisturbed + ["shift"] * shifted + ["turn"] * shifted
        for seed, kind in enumerate(tqdm(kinds, desc="scene checks")):
            random = np.random.default_rng(1000 + seed)
            get_task("place_cube_in_basin").reset(cell.model, cell.data, random)
            axis = random.standard_normal(3)
            axis /= np.linalg.norm(axis)
            moved = {
                "none": np.eye(4),
                "shift": make_pose(None, SHIFT_M * axis),
                "turn": make_pose(rotation_vector_to_matrix(TURN_RAD * axis)),
            }[kind]
            cell.place(T_BASE_DEPTH @ moved)
            joints = HOME + random.uniform(-0.15, 0.15, 7)
            now = look(cell, joints, random, shape, gain=random.uniform(0.9, 1.1))
            start_s = time.perf_counter()
            check = check_scene(reference, now)
            seconds.append(time.perf_counter() - start_s)
            answers[kind].append(check.moved)
            mm, deg = relative_to_truth(moved, check.T_reference_now)
            errors_mm.append(mm)
            errors_deg.append(deg)
    changed = "other objects, posture and brightness each time"
    bench.claim("3 mm in any direction: detected", np.mean(answers["shift"]), "", at_least=DETECTED, reference=changed)
    bench.claim("0.3 degrees about any axis: detected", np.mean(answers["turn"]), "", at_least=DETECTED)
    bench.claim(f"false alarms in {undisturbed} undisturbed looks", np.sum(answers["none"]), "", at_most=0)
    bench.claim("estimated displacement, 95th percentile of its error", np.percentile(errors_mm, 95), "mm")
    bench.claim("estimated rotation, 95th percentile of its error", np.percentile(errors_deg, 95), "deg")
    bench.claim("one check", float(np.median(seconds)), "s")


def live(bench: Benchmark, address: str) -> None:
    """One pass through the nodes, from the launch to the written calibration."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "launch.log"
        command = ["ros2", "launch", "clar", "calibrate.launch.py", "hardware:=sim"]
        command += [f"session:={folder}/session", f"samples:={POSES}", *([f"robot_ip:={address}"] if address else [])]
        start_s = time.monotonic()
        with log.open("w") as output:
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ).returncode
        seconds = time.monotonic() - start_s
        done = status == 0
        bench.claim("live pass ends well", float(done), "", at_least=1.0, reference=log.read_text()[-300:].strip())
        if done:
            result = load_calibration(Path(folder) / "session" / "calibration.yaml")
            mm, deg = relative_to_truth(T_BASE_DEPTH, result.T_base_optical)
            bench.claim("live pass of 20 poses, launch to file", seconds, "s", at_most=LIVE_S)
            bench.claim("live: translation", mm, "mm", at_most=TRANSLATION_MM)
            bench.claim("live: rotation", deg, "deg", at_most=ROTATION_DEG)


def main() -> int:
    """Measure, state the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="calibrations")
    parser.add_argument("--undisturbed", type=int, default=200, help="looks at a camera that did not move")
    parser.add_argument("--shifted", type=int, default=100, help="looks at each kind of displacement")
    parser.add_argument("--only", choices=("calibrations", "checks", "live"), help="one part of it")
    parser.add_argument("--address", default="", help="loopback address of the simulated robot")
    given = parser.parse_args()
    name = "calibration" if given.only is None else f"calibration_{given.only}"
    bench = Benchmark(name, "Calibration against the truth of the simulated cell")
    if given.only in (None, "calibrations"):
        calibrations(bench, given.runs)
    if given.only in (None, "checks"):
        checks(bench, given.undisturbed, given.shifted)
    if given.only in (None, "live"):
        live(bench, given.address)
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
