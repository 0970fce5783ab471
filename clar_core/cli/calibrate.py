"""``clar calibrate board | solve``: the printable board, and a calibration from recorded samples. No ROS needed.

``collect``, ``verify`` and ``check`` talk to the running stack and live in the ROS package (``clar.calibrate``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True)
class BoardOptions:
    """Write a printable calibration board in true size, or check the size of a printed one."""

    output: Annotated[Path, tyro.conf.Positional] = Path("board.pdf")
    """PDF to write."""
    kind: Literal["charuco", "apriltag"] = "charuco"
    """Chessboard with markers, or a grid of AprilTags."""
    columns: int | None = None
    """Squares, or tags, in a row; the default fits A4."""
    rows: int | None = None
    """Rows of them."""
    square_mm: float | None = None
    """Side of a square; distance from tag to tag."""
    marker_mm: float | None = None
    """Side of a marker or tag."""
    measured_width_mm: float | None = None
    """What a ruler says about the printed pattern: says whether it will do, and what to pass on to the solver."""


@dataclass(frozen=True)
class SolveOptions:
    """Solve recorded samples: writes the calibration file and a report, or says what is wrong with the samples."""

    session: Annotated[Path, tyro.conf.Positional]
    """Folder of `clar calibrate collect`."""
    output: Path = Path("calibration.yaml")
    """Calibration file; an existing one is kept beside it as *.previous."""
    report: Path | None = None
    """HTML report; next to the samples when left out."""
    measured_width_mm: float | None = None
    """Measured width of the printed pattern, where it differs from the one in the session."""
    set_up: Literal["eye_to_hand", "eye_in_hand"] | None = None
    """Take the samples as of this set-up."""
    refine_intrinsics: bool = False
    """Solve for focal lengths and centre of the colour camera, too."""


def main(arguments: list[str]) -> int:
    """Dispatch on the first word, which the table of commands put there."""
    word, *rest = arguments
    if word == "board":
        return board(tyro.cli(BoardOptions, prog="clar calibrate board", args=rest))
    return solve(tyro.cli(SolveOptions, prog="clar calibrate solve", args=rest))


def board(options: BoardOptions) -> int:
    """Write the page; with a measured width say whether the print will do."""
    from clar_calibration.board import BoardError
    from clar_calibration.printing import write_pdf

    try:
        wanted = _board(options)
        if options.measured_width_mm is not None:
            true = wanted.measured(options.measured_width_mm * 1e-3)
            print(f"fine: {true}. Pass on: board_width_mm:={options.measured_width_mm:g}")
            return 0
        paper = write_pdf(wanted, options.output)
    except (BoardError, OSError) as error:
        return fail(str(error))
    print(f"written: {options.output} ({paper}): {wanted}")
    print(f"Print at 100 %, glue it on something flat, and measure: the pattern is {wanted.width_m * 1e3:.1f} mm wide.")
    return 0


def solve(options: SolveOptions) -> int:
    """Solve, write, print; 1 with the reason when the samples give no good calibration."""
    from clar_calibration.quality import shortcomings
    from clar_calibration.report import write_report
    from clar_calibration.result import replace_calibration
    from clar_calibration.samples import Session
    from clar_calibration.workflow import solve_session, verified, verify_arm

    report = options.report or options.session / "report.html"
    try:
        session = Session(options.session)
        if options.set_up is not None:
            session = session.with_set_up(options.set_up)
        if options.measured_width_mm is not None:
            session = session.with_board(session.rig.board.measured(options.measured_width_mm * 1e-3))
        outcome = solve_session(session, refine_intrinsics=options.refine_intrinsics)
        outcome = verified(outcome, verify_arm(outcome))
        write_report(outcome, report)
        print(describe(outcome))
        poor = shortcomings(outcome.result)
        if poor:
            return fail(f"not written, the calibration is poor: {'; '.join(poor)}\nSee {report}")
        previous = replace_calibration(outcome.result, options.output)
    except (ValueError, OSError) as error:
        return fail(str(error))
    print(f"written: {options.output}" + (f" (the one before: {previous})" if previous else "") + f", {report}")
    return 0


def describe(outcome: Any) -> str:
    """The result in a few lines, for people."""
    solution, interval = outcome.solution, outcome.solution.interval
    lines = [
        f"{len(solution.used)} of {len(outcome.session)} samples used; error in the working area at most"
        f" {interval.at_work_mm:.2f} mm, of the camera {interval.distance_mm:.2f} mm and {interval.angle_deg:.3f}"
        " degrees (95 %)",
        f"hold-out {solution.held_out_mm:.2f} mm, {solution.held_out_deg:.3f} degrees rms; noise"
        f" {solution.noise.corner_px:.2f} px of corners, {solution.noise.hand_m * 1e3:.2f} mm of the hand",
    ]
    if outcome.depth is not None:
        lines.append(f"depth at {outcome.depth.mean_distance_m:.2f} m: {outcome.depth.at_work_mm:+.1f} mm")
    arm = outcome.result.quality.get("arm")
    if arm is not None:
        lines.append(f"the arm appears {arm['distance_mm']:.1f} mm and {arm['angle_deg']:.2f} degrees beside its model")
    lines += [f"sample {number}: {text}" for number, text in outcome.rejected.items()]
    lines += [f"sample {outcome.numbers[v.number]}: {v.remark}" for v in solution.views if v.remark]
    lines += [f"warning: {text}" for text in outcome.diagnosis.warnings]
    lines += [f"to add: {text}" for text in outcome.diagnosis.advice]
    return "\n".join(lines)


def _board(options: BoardOptions) -> Any:
    from clar_calibration.board import Board

    default = Board() if options.kind == "charuco" else Board.apriltags()
    return Board(
        kind=options.kind,
        columns=options.columns or default.columns,
        rows=options.rows or default.rows,
        square_m=default.square_m if options.square_mm is None else options.square_mm * 1e-3,
        marker_m=default.marker_m if options.marker_mm is None else options.marker_mm * 1e-3,
        dictionary=default.dictionary,
    )
