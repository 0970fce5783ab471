"""Calibrates the camera: moves the arm through planned poses (or watches it being guided), takes what both camera and
arm see while both are still, solves, checks the result against the arm itself, and writes calibration and report.

It moves the arm only as every other source of commands does: after ARM, by START, through envelope and supervisor.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import yaml
from rclpy.callback_groups import ReentrantCallbackGroup

from clar import names
from clar.calibrate_settings import CalibrateParameters, make_board, plan_settings, rough_poses
from clar.calls import CallError, wait_until
from clar.camera_feed import CameraFeed, Picture
from clar.look import Look, take_look
from clar.node import ERROR, OK, Health, NodeError, SimpleNode
from clar.process import run_node
from clar.scripted_arm import ScriptedArm
from clar_calibration.arm_shape import ArmShape
from clar_calibration.detection import DetectionError, detect
from clar_calibration.kinematics import Arm, arm_model
from clar_calibration.motion import is_new_view
from clar_calibration.planning import Plan, plan
from clar_calibration.quality import check_quality
from clar_calibration.reference import save_scene
from clar_calibration.report import write_report
from clar_calibration.result import EYE_TO_HAND, replace_calibration
from clar_calibration.samples import Rig, Sample, Session
from clar_calibration.workflow import Outcome, solve_session, verified, verify_arm
from clar_core.cell_config import load_cell
from clar_core.cli.calibrate import describe
from clar_interfaces.msg import RobotState

_INPUTS_WITHIN_S = 60.0
_PICTURE_WITHIN_S = 8.0
_DEPTH_WITHIN_S = 0.15
_LET_GO_WITHIN_S = 120.0
_SPARE_POSES = 6
_SHUTDOWN_LIMIT_S = 6.0
_NICENESS = -5
"""It commands the arm: what only looks must wait."""

Value = TypeVar("Value")


class CalledOffError(RuntimeError):
    """The process is ending."""


class CalibrateNode(SimpleNode):
    """Runs one calibration in a thread of its own."""

    node_name = names.NODE_CALIBRATE
    parameters_type = CalibrateParameters
    parameters: CalibrateParameters

    def configure(self) -> None:
        """Read the cell file and the parameters."""
        self._cell = load_cell(self.parameters.cell)
        self._board = make_board(self.parameters)
        self._output = Path(self.parameters.output or self._cell.calibration_path)
        self._phase = "starting"
        self._taken = 0

    def activate(self) -> None:
        """Listen, and begin."""
        p = self.parameters
        group = self._group = ReentrantCallbackGroup()
        self._feed = CameraFeed(self, inverse_lens=p.inverse_lens, group=group)
        self._arm = ScriptedArm(self, group, speed_m_s=p.speed_m_s, turn_rad_s=p.turn_rad_s)
        self.in_thread("calibration", self._run)

    def health(self) -> Health:
        """What it is doing."""
        values = {"samples": self._taken, "wanted": self.parameters.samples}
        return Health(ERROR if self.failure else OK, self._phase, values)

    def _run(self) -> None:
        start_s = time.monotonic()
        try:
            self._calibrate()
        except CalledOffError:
            return
        except (ValueError, OSError, RuntimeError) as error:
            self.request_stop(f"{self._phase}: {error}")
            return
        self._say(f"done in {time.monotonic() - start_s:.0f} s")
        if self.parameters.exit_when_done:
            self.request_stop()

    def _calibrate(self) -> None:
        p = self.parameters
        self._say("waiting for camera and arm")
        session = Session(Path(p.session), self._rig())
        self._taken = len(session)
        self._arm.await_state()
        if p.mode == "auto":
            self._collect_by_itself(session)
        else:
            self._collect_guided(session)
        self._say(f"solving {len(session)} samples")
        outcome = solve_session(session)
        self._shape = ArmShape.seen_by(session.rig.camera_serial)
        outcome = verified(outcome, verify_arm(outcome, self._shape))
        self._finish(self._with_reference(outcome))

    def _with_reference(self, outcome: Outcome) -> Outcome:
        """Look at the scene, with the arm at home, and write it beside the calibration: later looks are compared."""
        if outcome.result.set_up != EYE_TO_HAND:
            return outcome
        self._say("looking at the scene")
        look = self._look()
        T_base_board = self._arm.pose @ outcome.solution.hand_eye.Y
        margin = 1.2 * (self._board.outline - self._board.outline.mean(axis=0))
        held = margin + self._board.outline.mean(axis=0)
        scene = look.scene(outcome.result.T_base_optical, self._shape, T_base_board, held)
        entry = save_scene(scene, self._output.with_suffix(".scene.safetensors"))
        return replace(outcome, result=replace(outcome.result, reference=entry))

    def _look(self) -> Look:
        """The scene with the arm still; who guides it by hand is given time to let go."""
        p, end_s = self.parameters, time.monotonic() + _LET_GO_WITHIN_S
        while True:
            try:
                if p.mode == "guided":
                    self._arm.await_still(p.still_timeout_s)
                return take_look(self, self._group, inverse_lens=p.inverse_lens, cancelled=self.stop_requested.is_set)
            except CallError as error:
                if p.mode != "guided" or self.stop_requested.is_set() or time.monotonic() > end_s:
                    raise
                self.get_logger().warning(f"let go of the arm: {error}")

    def _finish(self, outcome: Outcome) -> None:
        report = Path(self.parameters.session) / "report.html"
        write_report(outcome, report)
        for line in describe(outcome).splitlines():
            self.get_logger().info(line)
        check_quality(outcome.result)
        previous = replace_calibration(outcome.result, self._output)
        kept = f" (the one before: {previous})" if previous else ""
        self.get_logger().info(f"written: {self._output}{kept}, report: {report}")

    # What is there before the first sample

    def _rig(self) -> Rig:
        if not self._await(lambda: not self._feed.missing(), _INPUTS_WITHIN_S):
            raise NodeError(
                f"no messages on {self._feed.missing()} within {_INPUTS_WITHIN_S:g} s: is the camera running, with"
                " colour and depth?"
            )
        color_frame, depth_frame = self._feed.frames()
        T_depth_color = self._edge(depth_frame, color_frame)
        link = names.CAMERA_FRAME
        return Rig(
            set_up=self.parameters.set_up,  # type: ignore[arg-type]
            board=self._board,
            color=self._feed.color_intrinsics,
            depth=self._feed.depth_intrinsics,
            T_depth_color=T_depth_color,
            T_link_depth=self._edge(link, depth_frame),
            camera_serial=self._cell.camera.serial,
            frames={
                "base": names.BASE_FRAME,
                "tcp": names.TCP_FRAME,
                "link": link,
                "depth": depth_frame,
                "color": color_frame,
            },
        )

    def _edge(self, target: str, source: str) -> np.ndarray:
        """A static transform of the driver; a wrong frame name is named."""
        if not self._await(lambda: self._feed.transform(target, source) is not None, 10.0):
            known = yaml.safe_load(self._feed.buffer.all_frames_as_yaml()) or {}
            raise NodeError(
                f"no transform {target} <- {source} on {names.TOPIC_TF_STATIC}: the driver's images are stamped with a"
                f" frame that its tree does not have. Frames it has: {', '.join(sorted(known)) or 'none'}"
            )
        T = self._feed.transform(target, source)
        assert T is not None
        return T

    # Samples

    def _collect_by_itself(self, session: Session) -> None:
        p = self.parameters
        wanted = p.samples - len(session)
        if wanted <= 0:
            return
        planned = self._plan(session, wanted + _SPARE_POSES)
        self.get_logger().info(
            f"{len(planned.T_base_tcp)} poses planned, rotation spread {planned.rotation_spread_deg:.0f} degrees (score"
            f" {planned.score:.2f}), promising {np.linalg.norm(planned.expected_mm):.2f} mm"
        )
        self._await_armed()
        self._arm.start()
        try:
            for number, T in enumerate(planned.T_base_tcp):
                if len(session) >= p.samples:
                    break
                self._say(f"pose {number + 1} of {len(planned.T_base_tcp)}, {len(session)} of {p.samples} samples")
                self._arm.go(T)
                self._take(session)
        finally:
            if self._arm.mode() == RobotState.MODE_RUNNING:
                self._arm.stop()
        self._arm.home()

    def _plan(self, session: Session, count: int) -> Plan:
        p = self.parameters
        self._say("planning poses")
        arm = Arm(arm_model(), self._cell.flange_T_tcp)
        joints = self._arm.joints_rad
        assert joints is not None
        return plan(
            count,
            set_up=session.rig.set_up,
            rough=rough_poses(p, self._cell, session.rig.T_depth_color),
            board=session.rig.board,
            intrinsics=session.rig.color,
            arm=arm,
            start_joints_rad=joints,
            settings=plan_settings(p, self._cell),
            seed=p.seed + len(session),
        )

    def _collect_guided(self, session: Session) -> None:
        """Take a view whenever arm and picture are still and the view is a new one."""
        poses = [session.load(i).T_base_tcp for i in range(len(session))]
        while len(session) < self.parameters.samples:
            self._say(f"guide the arm to a new view: {len(session)} of {self.parameters.samples} samples")
            if not self._await(lambda: is_new_view(self._arm.pose, poses), 3600.0):
                raise CallError("no new view within an hour")
            try:
                since_s = self._arm.await_still(self.parameters.still_timeout_s)
            except CallError:
                continue
            if self._take(session, since_s):
                poses.append(self._arm.pose)
            else:
                self._await(lambda: False, 1.0)

    def _take(self, session: Session, since_s: float | None = None) -> bool:
        """One sample, with arm and picture still; False, and why in the log, when there is no good view."""
        if since_s is None:
            since_s = self._arm.await_still(self.parameters.still_timeout_s)
        color = self._picture_after(since_s)
        stillness = self._arm.stillness
        pose = self._await_value(lambda: stillness.around(color.stamp_s), 2 * stillness.limits.window_s)
        if pose is None:
            self.get_logger().warning("view left out: the arm moved while the picture was taken")
            return False
        pixels = np.asarray(color.pixels, dtype=np.uint8)
        try:
            found = detect(pixels, session.rig.board)
        except DetectionError as error:
            self.get_logger().warning(f"view left out: {error}")
            return False
        depth = self._feed.depth_near(color.stamp_s, _DEPTH_WITHIN_S)
        joints = self._arm.joints_rad
        number = session.add(
            Sample(
                T_base_tcp=pose,
                color=pixels,
                depth=None if depth is None else np.asarray(depth.pixels, dtype=np.uint16),
                joints_rad=joints,
            )
        )
        self._taken = len(session)
        self.get_logger().info(f"sample {number}: {len(found.ids)} corners, edges {found.edge_width_px:.1f} px wide")
        return True

    def _picture_after(self, since_s: float) -> Picture:
        picture = self._await_value(lambda: self._feed.color_after(since_s), _PICTURE_WITHIN_S)
        if picture is None:
            raise NodeError(
                f"no new picture on {names.TOPIC_COLOR_IMAGE} within {_PICTURE_WITHIN_S:g} s: has the camera stopped?"
            )
        return picture

    def _await_armed(self) -> None:
        said_s = 0.0
        while self._arm.mode() != RobotState.MODE_ARMED:
            if time.monotonic() - said_s > 10.0:
                self._say("waiting for the operator: clear the arm's surroundings, then `clar arm`")
                said_s = time.monotonic()
            self._await(lambda: self._arm.mode() == RobotState.MODE_ARMED, 1.0)

    def _await(self, condition, timeout_s: float) -> bool:
        """``wait_until`` that ends the calibration when the process ends."""
        met = wait_until(condition, timeout_s, self.stop_requested.is_set)
        if self.stop_requested.is_set():
            raise CalledOffError
        return met

    def _await_value(self, get: Callable[[], Value | None], timeout_s: float) -> Value | None:
        """Wait for a value, as :meth:`_await`; the very one that was seen: callbacks change it at any moment."""
        seen: list[Value] = []

        def is_there() -> bool:
            value = get()
            if value is not None:
                seen.append(value)
            return value is not None

        return seen[-1] if self._await(is_there, timeout_s) else None

    def _say(self, phase: str) -> None:
        self._phase = phase
        self.get_logger().info(phase)


def main() -> int:
    """Run the calibrate node."""
    return run_node(CalibrateNode, threads=4, shutdown_limit_s=_SHUTDOWN_LIMIT_S, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
