# ruff: noqa: E501  (tables of Markdown cannot be wrapped)
"""The page on nodes: prose from here, parameter tables from the nodes' own.

python -m clar.documentation docs/nodes.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from clar.arm_settings import ArmParameters
from clar.calibrate_settings import CalibrateParameters
from clar.nodes.calibrated_tf import CalibratedTfParameters
from clar.nodes.camera import CameraParameters
from clar.nodes.cloud import CloudParameters
from clar.nodes.manager import ManagerParameters
from clar.nodes.policy import PolicyParameters
from clar.nodes.recorder import RecorderParameters
from clar.nodes.scene_check import SceneCheckParameters
from clar.nodes.sim import SimParameters
from clar.parameters import markdown_table
from clar.teleop_settings import TeleopParameters

_INTRODUCTION = """\
# Nodes

<!-- Written by `python -m clar.documentation docs/nodes.md`; a test keeps it up to date. -->

`ros2 launch clar policy.launch.py` starts these processes. Each is one executable of the package `clar`
(`ros2 run clar cloud`), owns its parameters, and reports once a second on `/diagnostics`: phase of its life cycle, what
it waits for, whether it is well, and figures. `clar status` prints that for all of them.

- Parameters are fixed when a node starts. One that is unknown, missing, of another type or out of bounds is refused, and
  the message names all that are wrong. `config/stack.yaml` holds what a site may want to change.
- *Managed* nodes (arm, policy, recorder) are ROS 2 lifecycle nodes. Configuring loads and checks, activating connects and
  streams, and neither moves anything. The manager drives them; `autostart:=true` lets one bring itself up alone.
- A node that refuses says what it expected, what it found, and what to do next, and ends the launch with a non-zero exit
  status. A managed node that is killed or crashes is started and brought up again; the arm comes back DISARMED.
- Ctrl-C reaches every node; each ramps down, closes its files and ends within seconds.

## Topics

| topic | type | rate | from | to |
|---|---|---|---|---|
| `/camera/camera/depth/image_rect_raw` | sensor_msgs/Image, 16UC1, mm | 30 Hz | camera driver or sim | cloud, recorder |
| `/camera/camera/depth/camera_info` | sensor_msgs/CameraInfo | 30 Hz | camera driver or sim | cloud, recorder |
| `/camera/camera/color/image_raw/compressed` | sensor_msgs/CompressedImage, jpeg | 10 to 30 Hz | camera driver or sim | recorder |
| `/camera/camera/color/image_raw` | sensor_msgs/Image, rgb8, while somebody listens | up to 30 Hz | camera driver or sim | |
| `/camera/camera/aligned_depth_to_color/image_raw`, `camera_info` | sensor_msgs/Image, 16UC1, mm | 30 Hz | camera driver, on request | |
| `/clar/cloud` | sensor_msgs/PointCloud2, base frame, at most 8192 points | 30 Hz | cloud | policy |
| `/clar/cloud/spec` | std_msgs/String, JSON of the observation spec | latched | cloud | policy |
| `/clar/command` | clar_interfaces/DeltaCommand | 10 Hz | policy (or another source) | arm, recorder |
| `/clar/policy/tick` | clar_interfaces/PolicyTick | 10 Hz | policy | recorder |
| `/clar/policy/instruction` | std_msgs/String | latched | manager | policy |
| `/clar/robot/state` | clar_interfaces/RobotState | 100 Hz | arm | policy, recorder |
| `/clar/robot/mode` | clar_interfaces/RobotState, on change | latched | arm | manager |
| `/joint_states`, `/tf` | sensor_msgs/JointState, tf2_msgs/TFMessage (base to TCP) | up to 100 Hz | arm | recorder |
| `/tf_static` | tf2_msgs/TFMessage | latched | camera driver, calibrated_tf | cloud, calibrated_tf |
| `/clar/calibration` | std_msgs/String, hash of the calibration in force | latched | calibrated_tf | policy, recorder |
| `/clar/gates` | diagnostic_msgs/DiagnosticStatus, one a check: ERROR forbids motion | latched | calibrated_tf, scene_check | arm |
| `/clar/timings` | clar_interfaces/StageTimings | per frame | camera, cloud, policy, arm | recorder |
| `/clar/teleop/status` | clar_interfaces/TeleopStatus, on change and at 4 Hz | latched | teleop | recorder |
| `/clar/episode` | clar_interfaces/Episode | latched | recorder | |
| `/clar/sim/state` | clar_interfaces/SimState | 10 Hz | sim | manager, recorder |
| `/clar/manager/status` | diagnostic_msgs/DiagnosticStatus | latched | manager | |
| `/diagnostics` | diagnostic_msgs/DiagnosticArray | 1 Hz each | all | manager |

Quality of service: camera and cloud subscribers keep the newest message and accept loss; commands are reliable with
depth 1, because an old command is worth nothing; what a late joiner must see is latched (transient local).

## Services and actions

| name | type | of | does |
|---|---|---|---|
| `/clar/robot/arm`, `disarm`, `stop`, `recover` | std_srvs/Trigger | arm | `clar arm`, ...; STOP answers while anything else hangs |
| `/clar/robot/start` | clar_interfaces/Start | arm | `clar start`: from now on this source moves the arm |
| `/clar/robot/home`, `return_to_start` | std_srvs/Trigger | arm | slow ways home and back to the last START; only while ARMED |
| `/clar/robot/open_gripper`, `home_gripper` | std_srvs/Trigger | arm | open or home the gripper; not while RUNNING |
| `/clar/calibration/check`, `verify` | std_srvs/Trigger | scene_check | `clar calibrate check`, `verify` |
| `/clar/recorder/start_episode`, `end_episode` | clar_interfaces/StartEpisode, EndEpisode | recorder | mark an episode |
| `/clar/recorder/undo_episode` | std_srvs/Trigger | recorder | move the last kept episode aside, into `undone/` |
| `/clar/sim/reset` | clar_interfaces/ResetCell | sim | put the objects out by seed |
| `/clar/manager/status` | std_srvs/Trigger | manager | is the stack ready, and what is wrong |
| `/clar/manager/mark_success`, `mark_failure` | std_srvs/Trigger | manager | the operator's verdict on the running trial |
| `/clar/run_trials` | clar_interfaces/RunTrials (action) | manager | open gripper, home, reset, START, wait, STOP; once a seed |
"""

_NODES = (
    (
        "camera",
        CameraParameters,
        "A RealSense D455 under the names of realsense-ros; see [Camera](camera.md).",
    ),
    (
        "cloud",
        CloudParameters,
        "Depth images to clouds in the base frame, through the one observation path. Holds clouds back, and says so, when"
        " the camera repeats frames, a transform is missing, or the crop box is almost empty; it never pads.",
    ),
    (
        "policy (managed)",
        PolicyParameters,
        "Ticks at 10 Hz on the monotonic clock, takes the newest cloud and the robot's state at its capture, and publishes"
        " one command, or, in its PolicyTick, why there is none.",
    ),
    (
        "arm (managed)",
        ArmParameters,
        "The only process that talks to the robot. Supervisor, envelope, step tracking; stops by itself when commands"
        " stop. See [Safety](safety.md).",
    ),
    (
        "calibrated_tf",
        CalibratedTfParameters,
        "Publishes base to camera_link, composed of the calibration and the driver's own static transform, which must be"
        " the one that the calibration was made with.",
    ),
    (
        "scene_check",
        SceneCheckParameters,
        "Tells whether the camera still is where it was calibrated, and closes the arm's gate when it is not. Runs where the"
        " calibration has a reference scene. See [Calibration](calibration.md).",
    ),
    (
        "calibrate",
        CalibrateParameters,
        "Moves the arm through planned poses (or watches it being guided), solves and writes a calibration. Started by"
        " calibrate.launch.py. See [Calibration](calibration.md).",
    ),
    (
        "manager",
        ManagerParameters,
        "Brings the managed nodes up in order, tells what they wait for, and runs trials.",
    ),
    (
        "recorder (managed)",
        RecorderParameters,
        "Writes rosbag2 MCAP bags of the raw topics, one for each episode or one for the whole run, and audits every"
        " episode when it ends.",
    ),
    (
        "teleop",
        TeleopParameters,
        "An operator's device, or the task's expert, commands the arm and runs the recording session. See"
        " [Demonstrations](demonstrations.md). `ros2 launch clar record.launch.py` starts it; `clar teleop` runs it in a"
        " terminal.",
    ),
    ("sim", SimParameters, "The simulated cell: robot, camera and objects. See [Simulated cell](simulated_cell.md)."),
)


def page() -> str:
    """The whole page."""
    sections = [f"## {title}\n\n{text}\n\n{markdown_table(table)}\n" for title, table, text in _NODES]
    return "\n".join([_INTRODUCTION, *sections])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
