"""The simulated cell as ROS 2 sees it: a D455's topics under the names of realsense-ros, and the state of the cell.

The physics run in a process of their own (:mod:`clar_core.simulation.live`), where franky connects to the arm as to a
real one. This node renders what the camera sees from snapshots of it, each image stamped with its snapshot's time.
"""

from __future__ import annotations

import array
import sys
import time
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_ros import StaticTransformBroadcaster

from clar import names, qos
from clar.bridge import array_to_image, array_to_jpeg, intrinsics_to_camera_info, ns_to_stamp
from clar.camera_frames import camera_tree
from clar.node import OK, WARN, Health, NodeError, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar_calibration.simulated import board_plate
from clar_core.geometry.poses import Array, make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import T_BASE_DEPTH, T_DEPTH_COLOR
from clar_core.simulation.depth_noise import DepthNoise
from clar_core.simulation.live import DEFAULT_ADDRESS, LiveCell, LiveCellError
from clar_core.simulation.live_snapshot import Snapshot
from clar_core.simulation.live_view import LiveView
from clar_core.simulation.scene import place_camera
from clar_interfaces.msg import SimState
from clar_interfaces.srv import ResetCell

_CLIENT_POLL_S = 0.02
_SHUTDOWN_LIMIT_S = 8.0


@dataclass(frozen=True, kw_only=True)
class SimParameters(NodeParameters):
    """Parameters of the simulated cell."""

    task: str = parameter("place_cube_in_basin", "Task whose objects stand in the cell.")
    seed: int = parameter(0, "Seed of the first start.", minimum=0)
    robot_ip: str = parameter(DEFAULT_ADDRESS, "Address of this machine at which the simulated robot listens.")
    depth_fps: float = parameter(20.0, "Rate of the depth images.", unit="Hz", minimum=1.0, maximum=90.0)
    color_fps: float = parameter(5.0, "Rate of the colour images.", unit="Hz", minimum=0.5, maximum=90.0)
    depth_noise: bool = parameter(
        True, "Disturb the depth as a D455 does. Without it a cell at rest looks like a frozen camera."
    )
    visual_meshes: bool = parameter(False, "Show the robot's fine meshes in colour images: pretty, five times slower.")
    board: bool = parameter(False, "Put a calibration board into the hand.")
    camera_shift_mm: tuple[float, ...] = parameter(
        (), "Displace the camera by x y z in the base frame, as a bumped tripod is.", unit="mm"
    )
    camera_turn_deg: tuple[float, ...] = parameter(
        (), "Turn the camera by this rotation vector, in the base frame.", unit="deg"
    )
    jpeg_quality: int = parameter(85, "Quality of the compressed colour images.", minimum=10, maximum=100)
    state_rate_hz: float = parameter(10.0, "Rate of the cell's state.", unit="Hz", minimum=1.0, maximum=100.0)
    real_time_factor_min: float = parameter(
        0.8, "Below it the diagnostics warn: the arm executes less of each step.", minimum=0.0, maximum=1.0
    )
    linger_s: float = parameter(
        3.5, "How long the end waits for the arm to disconnect first.", unit="s", minimum=0.0, maximum=6.0
    )


class SimNode(SimpleNode):
    """Camera topics, static transforms, cell state and reset of the simulated cell."""

    node_name = names.NODE_SIM
    parameters_type = SimParameters
    parameters: SimParameters

    def configure(self) -> None:
        """Start the physics. Refuses an unknown task and an address that is taken or not this machine's."""
        p = self.parameters
        for name in ("camera_shift_mm", "camera_turn_deg"):
            if len(getattr(p, name)) not in (0, 3):
                raise NodeError(f"{name}: expected three numbers or none, got {list(getattr(p, name))}")
        self._cell = LiveCell(p.task, p.seed, address=p.robot_ip)
        self.on_release(self._cell.close)
        self.get_logger().info(f"simulated robot at {p.robot_ip}, task {p.task}, physics in process {self._cell.pid}")

    def activate(self) -> None:
        """Start the camera and the cell's state."""
        p = self.parameters
        self._depth = self.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR_PUBLISHER)
        self._depth_info = self.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR_PUBLISHER)
        self._color = self.create_publisher(Image, names.TOPIC_COLOR_IMAGE, qos.SENSOR_PUBLISHER)
        self._compressed = self.create_publisher(CompressedImage, names.TOPIC_COLOR_COMPRESSED, qos.SENSOR_PUBLISHER)
        self._color_info = self.create_publisher(CameraInfo, names.TOPIC_COLOR_INFO, qos.SENSOR_PUBLISHER)
        self._state = self.create_publisher(SimState, names.TOPIC_SIM_STATE, qos.STATE)
        self.create_service(ResetCell, names.SERVICE_SIM_RESET, self._reset)
        self._static_transforms = StaticTransformBroadcaster(self)
        self._static_transforms.sendTransform(camera_tree(T_DEPTH_COLOR, self.get_clock().now().to_msg()))
        self._view: LiveView | None = None
        self._epoch = -1
        self._frames = self._frames_reported = 0
        self._frames_since_s = time.monotonic()
        self._render_ms = 0.0
        self._color_every = max(1, round(p.depth_fps / p.color_fps))
        self.on_release(self._close_view)
        self.create_timer(1.0 / p.depth_fps, self._publish_images)
        self.create_timer(1.0 / p.state_rate_hz, self._publish_state)

    def deactivate(self) -> None:
        """Outlive the arm: its last commands must still meet a robot. Bounded by ``linger_s``."""
        deadline = time.monotonic() + self.parameters.linger_s
        try:
            while self._cell.snapshot().client_connected and time.monotonic() < deadline:
                time.sleep(_CLIENT_POLL_S)
        except LiveCellError as error:
            self.get_logger().warning(str(error))

    def health(self) -> Health:
        """Real-time factor, frame rate and cost of rendering."""
        if not self.active:
            return Health(WARN, "not started")
        now_s = time.monotonic()
        frames, seconds = self._frames - self._frames_reported, now_s - self._frames_since_s
        self._frames_reported, self._frames_since_s = self._frames, now_s
        snapshot = self._snapshot()
        factor = snapshot.real_time_factor
        values = {
            "real_time_factor": factor,
            "depth_fps": frames / max(seconds, 1e-3),
            "render_ms": self._render_ms,
            "robot_client": "connected" if snapshot.client_connected else "none",
            "task": self._cell.task,
            "seed": snapshot.seed,
        }
        if factor < self.parameters.real_time_factor_min:
            expected = self.parameters.real_time_factor_min
            text = f"real-time factor {factor:.2f}, expected at least {expected:g}: the machine is too busy"
            return Health(WARN, text, values)
        return Health(OK, "ok", values)

    def _snapshot(self) -> Snapshot:
        try:
            return self._cell.snapshot()
        except LiveCellError as error:
            raise NodeError(str(error)) from error

    def _scene(self, snapshot: Snapshot) -> LiveView:
        """The copy of the scene that images are made from, in the snapshot's state; a new one for a new scene."""
        if self._view is None or self._epoch != snapshot.epoch:
            self._close_view()
            p = self.parameters
            self._view = LiveView(
                self._cell.task,
                noise=DepthNoise() if p.depth_noise else None,
                visual_meshes=p.visual_meshes,
                seed=p.seed,
                plate=board_plate() if p.board else None,
            )
            place_camera(self._view.model, _displaced(p))
            self._epoch = snapshot.epoch
        self._view.show(snapshot)
        return self._view

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def _publish_images(self) -> None:
        snapshot = self._snapshot()
        begin_s = time.perf_counter()
        view = self._scene(snapshot)
        stamp = ns_to_stamp(snapshot.wall_ns)
        header = Header(stamp=stamp, frame_id=names.DEPTH_OPTICAL_FRAME)
        self._depth.publish(array_to_image(view.depth(), "16UC1", header))
        self._depth_info.publish(intrinsics_to_camera_info(view.depth_camera.intrinsics, header))
        if self._frames % self._color_every == 0 and self._color_is_wanted:
            self._publish_color(view, Header(stamp=stamp, frame_id=names.COLOR_OPTICAL_FRAME))
        self._frames += 1
        self._render_ms += 0.05 * ((time.perf_counter() - begin_s) * 1e3 - self._render_ms)

    @property
    def _color_is_wanted(self) -> bool:
        """Whether anybody listens: rendering colour takes twice as long as depth."""
        publishers = (self._compressed, self._color, self._color_info)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def _publish_color(self, view: LiveView, header: Header) -> None:
        pixels = view.color()
        self._compressed.publish(array_to_jpeg(pixels, self.parameters.jpeg_quality, header))
        self._color_info.publish(intrinsics_to_camera_info(view.color_camera.intrinsics, header))
        if self._color.get_subscription_count():
            self._color.publish(array_to_image(pixels, "rgb8", header))

    def _publish_state(self) -> None:
        snapshot = self._snapshot()
        view = self._scene(snapshot)
        state = SimState(
            task=self._cell.task,
            seed=snapshot.seed,
            success=view.success(),
            real_time_factor=snapshot.real_time_factor,
            simulated_time=snapshot.simulated_time_s,
        )
        state.header.stamp = ns_to_stamp(snapshot.wall_ns)
        state.header.frame_id = names.BASE_FRAME
        state.qpos = array.array("d", view.data.qpos.tobytes())
        self._state.publish(state)

    def _reset(self, request: ResetCell.Request, response: ResetCell.Response) -> ResetCell.Response:
        try:
            self._cell.reset(request.seed, request.task)
        except (LiveCellError, ValueError) as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(f"reset refused: {error}")
        else:
            response.success, response.message = True, f"{self._cell.task}, seed {request.seed}"
        return response


def _displaced(p: SimParameters) -> Array:
    """``T_base_depth`` (4, 4) of the camera where the parameters put it."""
    shift = np.array(p.camera_shift_mm or (0.0, 0.0, 0.0)) * 1e-3
    turn = rotation_vector_to_matrix(np.radians(p.camera_turn_deg or (0.0, 0.0, 0.0)))
    return make_pose(turn @ T_BASE_DEPTH[:3, :3], T_BASE_DEPTH[:3, 3] + shift)


def main() -> int:
    """Entry point of the node."""
    return run_node(SimNode, shutdown_limit_s=_SHUTDOWN_LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
