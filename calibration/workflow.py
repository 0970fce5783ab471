"""From a folder of samples to a calibration: detect, refuse what is hopeless, solve, diagnose, check the depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import clar_core
from clar_calibration.arm_in_cloud import ArmCheck, ArmNotSeenError, Posture, check_arm
from clar_calibration.arm_shape import ArmShape
from clar_calibration.depth_check import DepthCheck, check_depth
from clar_calibration.detection import Detection, DetectionError, detect
from clar_calibration.diagnosis import Diagnosis, diagnose, refuse_hopeless
from clar_calibration.result import EYE_TO_HAND, CalibrationResult
from clar_calibration.samples import Rig, Sample, Session
from clar_calibration.solver import LEAST_VIEWS, Solution, SolveError, solve
from clar_core.geometry.poses import inverse

Array = NDArray[np.float64]

_PACKAGES = ("opencv-python-headless", "numpy", "scipy")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A solved session.

    Attributes:
        session: what was solved.
        numbers: the samples in which the board was found; view i of the solution is sample ``numbers[i]``.
        detections: of these samples.
        rejected: sample number -> why it is no view.
        solution, diagnosis, depth: what was found.
        result: what goes into the file.
    """

    session: Session
    numbers: tuple[int, ...]
    detections: tuple[Detection, ...]
    rejected: dict[int, str]
    solution: Solution
    diagnosis: Diagnosis
    depth: DepthCheck | None
    result: CalibrationResult

    @property
    def T_parent_depth(self) -> Array:
        """(4, 4) the depth optical frame in the frame in which the camera stands still."""
        return self.result.T_base_optical


def solve_session(session: Session, *, refine_intrinsics: bool = False, now: datetime | None = None) -> Outcome:
    """Solve a folder of samples.

    Raises:
        SessionError: the folder cannot be read.
        DiagnosisError: one thing is wrong that makes solving hopeless.
        SolveError: too few views, with why the others are none.
    """
    rig = session.rig
    samples = session.samples()
    found, rejected = _detect_all(samples, rig)
    if len(found) < LEAST_VIEWS:
        reasons = sorted({text.partition(":")[0] for text in rejected.values()})
        why = f" of {len(samples)} samples; the others: {', '.join(reasons)}" if reasons else ""
        raise SolveError(
            f"too few views: {len(found)}{why}. At least {LEAST_VIEWS} are needed and 20 are good:"
            " clar calibrate collect goes on where it ended"
        )
    numbers = tuple(found)
    detections = tuple(found.values())
    T_base_tcp = np.array([samples[i].T_base_tcp for i in numbers])
    refuse_hopeless(rig.set_up, T_base_tcp, detections, rig.board, rig.color)
    solution = solve(rig.set_up, T_base_tcp, detections, rig.board, rig.color, refine_intrinsics=refine_intrinsics)
    diagnosis = diagnose(solution, detections, rig.color)
    depth = _check_depth(samples, numbers, solution, rig)
    result = _result(rig, solution, diagnosis, depth, numbers, rejected, now or datetime.now(UTC))
    return Outcome(session, numbers, detections, rejected, solution, diagnosis, depth, result)


def verify_arm(outcome: Outcome, shape: ArmShape | None = None) -> ArmCheck | None:
    """Compare the arm in the samples' depth with its model: a check by what the solver never saw.

    None for a camera on the hand, which does not see the arm, and for samples without depth or joints.
    """
    session, rig = outcome.session, outcome.session.rig
    if rig.set_up != EYE_TO_HAND or rig.depth is None:
        return None
    samples = [session.load(outcome.numbers[i]) for i in outcome.solution.used]
    postures = [Posture(s.depth, s.joints_rad) for s in samples if s.depth is not None and s.joints_rad is not None]
    if not postures:
        return None
    shape = shape or ArmShape.seen_by(rig.camera_serial)
    try:
        return check_arm(postures, outcome.result.T_base_optical, rig.depth, shape)
    except ArmNotSeenError:
        return None


def verified(outcome: Outcome, check: ArmCheck | None) -> Outcome:
    """The outcome with the check of the arm in its result."""
    if check is None:
        return outcome
    arm = {
        "points": check.points,
        "distance_mm": _short(check.distance_mm),
        "angle_deg": _short(check.angle_deg),
        "shift_mm": [_short(v) for v in check.shift_mm],
        "median_mm": _short(check.median_mm),
    }
    return replace(outcome, result=replace(outcome.result, quality={**outcome.result.quality, "arm": arm}))


def software_versions() -> dict[str, str]:
    """Versions of what a calibration is computed with."""
    versions = {"clar": clar_core.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def _detect_all(samples: list[Sample], rig: Rig) -> tuple[dict[int, Detection], dict[int, str]]:
    found, rejected = {}, {}
    for number, sample in enumerate(samples):
        try:
            found[number] = detect(sample.color, rig.board)
        except DetectionError as error:
            rejected[number] = str(error)
    return found, rejected


def _check_depth(samples: list[Sample], numbers: tuple[int, ...], solution: Solution, rig: Rig) -> DepthCheck | None:
    if rig.depth is None:
        return None
    A, solved = solution.problem.A, solution.hand_eye
    used = [numbers[i] for i in solution.used]
    poses = [rig.T_depth_color @ inverse(solved.X) @ a @ solved.Y for a in A]
    return check_depth([samples[i].depth for i in used], poses, rig.board, rig.depth)


def _result(
    rig: Rig,
    solution: Solution,
    diagnosis: Diagnosis,
    depth: DepthCheck | None,
    numbers: tuple[int, ...],
    rejected: dict[int, str],
    now: datetime,
) -> CalibrationResult:
    interval, noise = solution.interval, solution.noise
    quality: dict[str, Any] = {
        "views": len(solution.used),
        "at_work_mm": _short(interval.at_work_mm),
        "distance_mm": _short(interval.distance_mm),
        "angle_deg": _short(interval.angle_deg),
        "translation_mm": [_short(v) for v in interval.translation_mm],
        "rotation_deg": [_short(v) for v in interval.rotation_deg],
        "confidence": 0.95,
        "rotation_spread_deg": _short(diagnosis.rotation_spread_deg),
        "condition": _short(diagnosis.condition),
        "corner_noise_px": _short(noise.corner_px),
        "hand_noise_mm": _short(noise.hand_m * 1e3),
        "hand_noise_deg": _short(np.degrees(noise.hand_rad)),
        "board": str(rig.board),
        "board_scale": [round(solution.scale, 5), round(solution.scale_std, 5)],
        "T_carrier_board": np.round(solution.hand_eye.Y, 6).tolist(),
        "lens_px": {name: _short(value) for name, value in diagnosis.lens_px.items()},
        "warnings": list(diagnosis.warnings),
        "advice": list(diagnosis.advice),
        "samples": [
            {
                "number": numbers[view.number],
                "used": view.used,
                "reprojection_px": _short(view.reprojection_px),
                "held_out_mm": _short(view.held_out_mm),
                "held_out_deg": _short(view.held_out_deg),
            }
            for view in solution.views
        ],
        "rejected": {str(number): text for number, text in rejected.items()},
    }
    if depth is not None:
        quality["depth"] = {
            "views": depth.views,
            "scale": round(depth.scale, 5),
            "bias_mm": _short(depth.bias_mm),
            "at_work_mm": _short(depth.at_work_mm),
            "noise_mm": _short(depth.noise_mm),
            "mean_distance_m": _short(depth.mean_distance_m),
        }
    return CalibrationResult(
        T_base_optical=solution.hand_eye.X @ inverse(rig.T_depth_color),
        T_link_optical=rig.T_link_depth,
        base_frame=rig.parent_frame,
        link_frame=rig.frames["link"],
        optical_frame=rig.frames["depth"],
        date=now,
        camera_serial=rig.camera_serial or "unknown",
        method=f"{rig.set_up}_{rig.board.kind}",
        holdout_translation_mm=_short(solution.held_out_mm),
        holdout_rotation_deg=_short(solution.held_out_deg),
        holdout_samples=len(solution.used),
        software=software_versions(),
        set_up=rig.set_up,
        quality=quality,
    )


def _short(value: float) -> float:
    """Four digits: what lies behind them is noise."""
    return float(f"{value:.4g}")
