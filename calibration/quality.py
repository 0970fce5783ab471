"""When a calibration is good enough to run on: the bounds, and the sentences that refuse a worse one."""

from __future__ import annotations

from dataclasses import dataclass

from clar_calibration.result import NEXT_STEP, CalibrationError, CalibrationResult


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """Bounds. A centimetre or a degree is a failed grasp, so the bounds stay well below.

    Attributes:
        held_out_mm, held_out_deg: root mean square error of views that the solver did not see.
        at_work_mm: 95 % bound of the displacement of what the camera sees in the working area.
        angle_deg: 95 % bound of the error of the camera's rotation.
        views: fewest views behind it.
        rotation_spread_deg: how far the hand was turned about its second most used axis.
        arm_mm: how far the arm in the depth image is from its model.
    """

    held_out_mm: float = 5.0
    held_out_deg: float = 1.5
    at_work_mm: float = 3.0
    angle_deg: float = 0.3
    views: int = 10
    rotation_spread_deg: float = 8.0
    arm_mm: float = 8.0


DEFAULT_LIMITS = QualityLimits()


def shortcomings(result: CalibrationResult, limits: QualityLimits = DEFAULT_LIMITS) -> list[str]:
    """What is not good enough about a calibration, each with the bound; empty for a good one.

    What the file does not say (one that was not made by this tool) is not judged.
    """
    found = []

    def judge(name: str, value: object, bound: float, unit: str, *, at_least: bool = False) -> None:
        if not isinstance(value, int | float):
            return
        if (value < bound) if at_least else (value > bound):
            found.append(f"{name} {value:.3g}{unit}, expected at {'least' if at_least else 'most'} {bound:g}{unit}")

    if result.holdout_samples > 0:
        judge("hold-out error", result.holdout_translation_mm, limits.held_out_mm, " mm")
        judge("hold-out error", result.holdout_rotation_deg, limits.held_out_deg, " degrees")
    quality = result.quality
    judge("error in the working area (95 %)", quality.get("at_work_mm"), limits.at_work_mm, " mm")
    judge("error of the rotation (95 %)", quality.get("angle_deg"), limits.angle_deg, " degrees")
    judge("views", quality.get("views"), limits.views, "", at_least=True)
    judge("rotation spread", quality.get("rotation_spread_deg"), limits.rotation_spread_deg, " degrees", at_least=True)
    arm = quality.get("arm")
    if isinstance(arm, dict):
        judge("distance of the arm from its model", arm.get("distance_mm"), limits.arm_mm, " mm")
    return found


def check_quality(result: CalibrationResult, limits: QualityLimits = DEFAULT_LIMITS) -> None:
    """Raise CalibrationError, naming every shortcoming and what the calibration said to add, unless it is good."""
    found = shortcomings(result, limits)
    if not found:
        return
    advice = result.quality.get("advice")
    hint = f" It advised: {'; '.join(str(a) for a in advice)}." if isinstance(advice, list) and advice else ""
    raise CalibrationError(f"the calibration is poor: {'; '.join(found)}.{hint} {NEXT_STEP[0].upper()}{NEXT_STEP[1:]}")
