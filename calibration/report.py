"""The calibration report: one HTML page that says how good it is, with the board drawn into every picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.detection import Detection
from clar_calibration.quality import DEFAULT_LIMITS, QualityLimits, shortcomings
from clar_calibration.samples import Sample
from clar_calibration.workflow import Outcome
from clar_core.evaluation.report import Report, Tile, Tone
from clar_core.geometry.camera import project
from clar_core.geometry.poses import inverse, transform_points

Array = NDArray[np.float64]

_GREEN, _RED, _BLUE = (60, 220, 90), (60, 60, 240), (255, 160, 60)
_PER_ROW = 4
_THUMBNAIL_PX = 400


def write_report(outcome: Outcome, path: Path, limits: QualityLimits = DEFAULT_LIMITS) -> None:
    """Write the page."""
    result, solution = outcome.result, outcome.solution
    poor = shortcomings(result, limits)
    report = Report(
        "Camera calibration",
        f"{result.method}, camera {result.camera_serial}, {result.date:%Y-%m-%d %H:%M} UTC, {len(solution.used)} views"
        f" of {len(outcome.session)} samples. {result.hash}",
        verdict="poor" if poor else "good",
        tone="bad" if poor else "good",
    )
    _figures(report, outcome, limits)
    for title, texts in (
        ("What is not good enough", poor),
        ("Warnings", outcome.diagnosis.warnings),
        ("What to add", outcome.diagnosis.advice),
    ):
        if texts:
            report.heading(title)
            report.table(("",), [(text,) for text in texts])
    _pose(report, outcome)
    _methods(report, outcome)
    _samples(report, outcome)
    _pictures(report, outcome)
    report.write(path)


def _figures(report: Report, outcome: Outcome, limits: QualityLimits) -> None:
    solution, interval = outcome.solution, outcome.solution.interval

    def tile(title: str, value: str, note: str, good: bool) -> Tile:
        return Tile(title, value, note, "good" if good else "bad")

    tiles = [
        tile(
            "Error in the working area",
            f"{interval.at_work_mm:.2f} mm",
            f"95 % bound; at most {limits.at_work_mm:g}",
            interval.at_work_mm <= limits.at_work_mm,
        ),
        tile(
            "Error of the rotation",
            f"{interval.angle_deg:.3f}°",
            f"95 % bound; at most {limits.angle_deg:g}",
            interval.angle_deg <= limits.angle_deg,
        ),
        Tile("Error of the position", f"{interval.distance_mm:.2f} mm", "95 % bound, of the camera itself"),
        tile(
            "Hold-out",
            f"{solution.held_out_mm:.2f} mm",
            f"{solution.held_out_deg:.3f}° rms, each view predicted by the others",
            solution.held_out_mm <= limits.held_out_mm and solution.held_out_deg <= limits.held_out_deg,
        ),
        tile(
            "Rotation spread",
            f"{outcome.diagnosis.rotation_spread_deg:.0f}°",
            f"about the second axis; at least {limits.rotation_spread_deg:g}. Condition"
            f" {outcome.diagnosis.condition:.1f}",
            outcome.diagnosis.rotation_spread_deg >= limits.rotation_spread_deg,
        ),
        Tile(
            "Noise",
            f"{solution.noise.corner_px:.2f} px",
            f"of corners; of the hand {solution.noise.hand_m * 1e3:.2f} mm and"
            f" {np.degrees(solution.noise.hand_rad):.3f}°",
        ),
    ]
    if outcome.depth is not None:
        depth = outcome.depth
        tiles.append(
            Tile(
                "Depth at the board",
                f"{depth.at_work_mm:+.1f} mm",
                f"at {depth.mean_distance_m:.2f} m: scale {depth.scale:+.2%}, bias {depth.bias_mm:+.1f} mm, noise"
                f" {depth.noise_mm:.1f} mm, {depth.views} views",
                "bad" if abs(depth.at_work_mm) > 5.0 else "plain",
            )
        )
    arm = outcome.result.quality.get("arm")
    if arm is not None:
        tiles.append(
            tile(
                "The arm against its model",
                f"{arm['distance_mm']:.1f} mm",
                f"and {arm['angle_deg']:.2f}° apart in the depth images, {arm['points']} points; at most"
                f" {limits.arm_mm:g} mm",
                arm["distance_mm"] <= limits.arm_mm,
            )
        )
    report.tiles(tiles)


def _pose(report: Report, outcome: Outcome) -> None:
    result, interval = outcome.result, outcome.solution.interval
    x, y, z = result.T_base_optical[:3, 3] * 1e3
    report.heading(
        "Where the camera is",
        f"{result.optical_frame} in {result.base_frame}; the widths are 95 % of the position and rotation, about"
        " x, y and z.",
    )
    report.table(
        ("", "x", "y", "z"),
        [
            ("position, mm", f"{x:.2f}", f"{y:.2f}", f"{z:.2f}"),
            ("± mm", *(f"{v:.2f}" for v in interval.translation_mm)),
            ("± degrees", *(f"{v:.3f}" for v in interval.rotation_deg)),
        ],
    )
    lens = outcome.diagnosis.lens_px
    rows = [(name, f"{value:.3f} px") for name, value in lens.items()]
    if rows:
        report.heading("The lens", f"Corner noise under each direction of the distortion; in use: {_model(outcome)}.")
        report.table(("direction", "corner noise"), rows)


def _model(outcome: Outcome) -> str:
    return outcome.solution.intrinsics.model


def _methods(report: Report, outcome: Outcome) -> None:
    solution = outcome.solution
    ours = solution.hand_eye.X
    rows = []
    for name, start in solution.starts.items():
        relative = inverse(ours) @ start.X
        angle = np.degrees(np.arccos(np.clip((np.trace(relative[:3, :3]) - 1) / 2, -1, 1)))
        rows.append((name, f"{np.linalg.norm(relative[:3, 3]) * 1e3:.2f} mm", f"{angle:.3f}°"))
    report.heading("The closed forms alone", "How far OpenCV's solutions of the same views are from this one.")
    report.table(("method", "position", "rotation"), rows)


def _samples(report: Report, outcome: Outcome) -> None:
    report.heading("Samples", "Error of each view when the others predict it, and what speaks against it.")
    rows, tones = [], []
    views = {outcome.numbers[view.number]: view for view in outcome.solution.views}
    for number in range(len(outcome.session)):
        if number in views:
            view = views[number]
            cells = (
                f"{view.reprojection_px:.2f} px",
                f"{view.held_out_mm:.2f} mm",
                f"{view.held_out_deg:.3f}°",
                view.remark,
            )
            tone: Tone = "good" if view.used else "bad"
        else:
            cells, tone = ("", "", "", outcome.rejected[number]), "bad"
        rows.append((f"{number}", *cells))
        tones.append(tone)
    report.table(("sample", "reprojection", "hold-out", "", "remark"), rows, tones)


def _pictures(report: Report, outcome: Outcome) -> None:
    report.heading("Pictures", "Green: corners as found. Blue: the board where the calibration puts it. Red: no view.")
    thumbnails = []
    found = dict(zip(outcome.numbers, outcome.detections, strict=True))
    for number in range(len(outcome.session)):
        sample = outcome.session.load(number)
        thumbnails.append(overlay(outcome, sample, found.get(number), f"{number}"))
    for start in range(0, len(thumbnails), _PER_ROW):
        row = thumbnails[start : start + _PER_ROW]
        row += [np.full_like(row[0], 255)] * (_PER_ROW - len(row) if start else 0)
        encoded, data = cv2.imencode(".jpg", np.hstack(row), [cv2.IMWRITE_JPEG_QUALITY, 82])
        if encoded:
            report.image(data.tobytes())


def overlay(outcome: Outcome, sample: Sample, detection: Detection | None, label: str) -> NDArray[np.uint8]:
    """One picture (BGR, reduced) with the corners that were found and the board as predicted."""
    image = np.ascontiguousarray(sample.color[:, :, ::-1])
    scale = _THUMBNAIL_PX / image.shape[1]
    image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    solution, rig = outcome.solution, outcome.session.rig
    A = sample.T_base_tcp if rig.set_up == "eye_to_hand" else inverse(sample.T_base_tcp)
    T = inverse(solution.hand_eye.X) @ A @ solution.hand_eye.Y
    outline = _dense(rig.board.outline)
    _polyline(image, project(transform_points(T, outline), solution.intrinsics) * scale)
    if detection is not None:
        for u, v in detection.pixels * scale:
            cv2.circle(image, (round(8 * u), round(8 * v)), 16, _GREEN, 1, cv2.LINE_AA, 3)
    cv2.putText(image, label, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, _GREEN if detection else _RED, 2, cv2.LINE_AA)
    return np.asarray(image, dtype=np.uint8)


def _dense(outline: Array) -> Array:
    """Points along a closed line, so that a distorting lens bends it."""
    corners = [*outline, outline[0]]
    return np.concatenate([np.linspace(a, b, 12, endpoint=False) for a, b in itertools.pairwise(corners)])


def _polyline(image: NDArray[np.uint8], pixels: Array | Sequence[Array]) -> None:
    points = np.asarray(pixels)
    if np.isfinite(points).all():
        cv2.polylines(image, [np.rint(points * 8).astype(np.int32)], True, _BLUE, 1, cv2.LINE_AA, 3)
