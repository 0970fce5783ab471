"""The drivers need no ROS: a notebook is enough."""

import subprocess
import sys


def test_no_driver_imports_ros() -> None:
    program = (
        "import sys\n"
        "import clar.drivers.camera_stream, clar.drivers.franka, clar.drivers.franka_gripper, clar.drivers.realsense\n"
        "found = [name for name in sys.modules if name.split('.')[0] in ('rclpy', 'tf2_ros', 'sensor_msgs')]\n"
        "sys.exit(', '.join(found) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
