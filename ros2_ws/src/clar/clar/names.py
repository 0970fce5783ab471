"""Names of nodes, frames, topics, services and actions of the live stack, each written once.

The camera's topics are those of realsense-ros with its default names, so that the built-in camera node, the official
driver and the simulated cell are interchangeable.
"""

from __future__ import annotations

from typing import Final

# Frames (REP-103, REP-105). The observation and the action live in the base frame.
BASE_FRAME: Final = "fr3_link0"
TCP_FRAME: Final = "fr3_hand_tcp"
CAMERA_FRAME: Final = "camera_link"
DEPTH_OPTICAL_FRAME: Final = "camera_depth_optical_frame"
COLOR_OPTICAL_FRAME: Final = "camera_color_optical_frame"

# Camera
TOPIC_DEPTH_IMAGE: Final = "/camera/camera/depth/image_rect_raw"
TOPIC_DEPTH_INFO: Final = "/camera/camera/depth/camera_info"
TOPIC_COLOR_IMAGE: Final = "/camera/camera/color/image_raw"
TOPIC_COLOR_COMPRESSED: Final = "/camera/camera/color/image_raw/compressed"
TOPIC_COLOR_INFO: Final = "/camera/camera/color/camera_info"
TOPIC_ALIGNED_IMAGE: Final = "/camera/camera/aligned_depth_to_color/image_raw"
TOPIC_ALIGNED_INFO: Final = "/camera/camera/aligned_depth_to_color/camera_info"

# Observation and command
TOPIC_CLOUD: Final = "/clar/cloud"
TOPIC_CLOUD_SPEC: Final = "/clar/cloud/spec"
TOPIC_COMMAND: Final = "/clar/command"
TOPIC_POLICY_TICK: Final = "/clar/policy/tick"
TOPIC_POLICY_INSTRUCTION: Final = "/clar/policy/instruction"
TOPIC_TIMINGS: Final = "/clar/timings"
TOPIC_TELEOP_STATUS: Final = "/clar/teleop/status"
TOPIC_JOY: Final = "/joy"
TOPIC_TWIST: Final = "/clar/teleop/twist"

# Robot and its surroundings
TOPIC_ROBOT_STATE: Final = "/clar/robot/state"
TOPIC_ROBOT_MODE: Final = "/clar/robot/mode"
TOPIC_JOINT_STATES: Final = "/joint_states"
TOPIC_EPISODE: Final = "/clar/episode"
TOPIC_CALIBRATION: Final = "/clar/calibration"
TOPIC_GATES: Final = "/clar/gates"
TOPIC_SIM_STATE: Final = "/clar/sim/state"
TOPIC_MANAGER_STATUS: Final = "/clar/manager/status"
TOPIC_DIAGNOSTICS: Final = "/diagnostics"
TOPIC_TF: Final = "/tf"
TOPIC_TF_STATIC: Final = "/tf_static"

# Services of the arm node. STOP depends on no other process.
SERVICE_ARM: Final = "/clar/robot/arm"
SERVICE_DISARM: Final = "/clar/robot/disarm"
SERVICE_START: Final = "/clar/robot/start"
SERVICE_STOP: Final = "/clar/robot/stop"
SERVICE_RECOVER: Final = "/clar/robot/recover"
SERVICE_HOME: Final = "/clar/robot/home"
SERVICE_RETURN: Final = "/clar/robot/return_to_start"
SERVICE_OPEN_GRIPPER: Final = "/clar/robot/open_gripper"
SERVICE_HOME_GRIPPER: Final = "/clar/robot/home_gripper"

# Services of the other nodes
SERVICE_SIM_RESET: Final = "/clar/sim/reset"
SERVICE_START_EPISODE: Final = "/clar/recorder/start_episode"
SERVICE_END_EPISODE: Final = "/clar/recorder/end_episode"
SERVICE_UNDO_EPISODE: Final = "/clar/recorder/undo_episode"
SERVICE_CHECK_SCENE: Final = "/clar/calibration/check"
SERVICE_VERIFY_CALIBRATION: Final = "/clar/calibration/verify"
SERVICE_MANAGER_STATUS: Final = "/clar/manager/status"
SERVICE_MARK_SUCCESS: Final = "/clar/manager/mark_success"
SERVICE_MARK_FAILURE: Final = "/clar/manager/mark_failure"
ACTION_RUN_TRIALS: Final = "/clar/run_trials"

# Nodes, as they appear in the graph and in diagnostics
NODE_SIM: Final = "clar_sim"
NODE_CAMERA: Final = "clar_camera"
NODE_CLOUD: Final = "clar_cloud"
NODE_POLICY: Final = "clar_policy"
NODE_ARM: Final = "clar_arm"
NODE_RECORDER: Final = "clar_recorder"
NODE_CALIBRATED_TF: Final = "clar_calibrated_tf"
NODE_MANAGER: Final = "clar_manager"
NODE_TELEOP: Final = "clar_teleop"
NODE_CALIBRATE: Final = "clar_calibrate"
NODE_SCENE_CHECK: Final = "clar_scene_check"

# Gates: checks that the arm waits for, each latched on TOPIC_GATES by the node that makes it
GATE_CALIBRATION: Final = "calibration"
GATE_SCENE: Final = "scene"

# Sources of DeltaCommand, and thereby possible owners of the arm
SOURCE_POLICY: Final = "policy"
SOURCE_TELEOP: Final = "teleop"
SOURCE_REPLAY: Final = "replay"
SOURCE_SCRIPTED: Final = "scripted"
