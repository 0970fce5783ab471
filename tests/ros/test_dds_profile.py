"""The Fast DDS profile carries whole images by best effort, which Fast DDS on its own does not."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.ros.processes import run_script, script_process

PROFILE = Path(__file__).parents[2] / "ros2_ws/src/clar/config/fastdds.xml"
BURSTS, BURST = 3, 10

ECHO = """
    import sys, rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import String
    from clar import qos
    rclpy.init()
    node = rclpy.create_node("echo")
    acknowledge = node.create_publisher(String, "/acknowledged", qos.RECORD)
    node.create_subscription(
        Image, "/image", lambda m: acknowledge.publish(String(data=m.header.frame_id)), qos.RECORD_BEST_EFFORT
    )
    rclpy.spin(node)
"""

# The shared memory holds a whole burst, so that nothing is lost however late the other process gets to read it.
SENDER = """
    import array, sys, time, rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image
    from std_msgs.msg import String
    from clar import qos
    rclpy.init()
    node = rclpy.create_node("sender")
    seen = set()
    node.create_subscription(String, "/acknowledged", lambda m: seen.add(m.data), qos.RECORD)
    profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "/image", profile)
    def wait(condition, limit_s):
        end = time.monotonic() + limit_s
        while not condition() and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
    wait(lambda: publisher.get_subscription_count() and node.count_publishers("/acknowledged"), 60)
    image = Image(height=480, width=640, encoding="rgb8", step=1920, data=array.array("B", bytes(480 * 1920)))
    bursts, burst = int(sys.argv[1]), int(sys.argv[2])
    for i in range(bursts):
        for j in range(burst):
            image.header.frame_id = f"{i} {j}"
            publisher.publish(image)
        wait(lambda: len(seen) == (i + 1) * burst, 20)
    print(len(seen))
"""


def test_most_images_of_a_burst_arrive_by_best_effort(ros_domain: int) -> None:
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE), "ROS_DOMAIN_ID": str(ros_domain)}
    with script_process(ECHO, environment):
        sender = run_script(SENDER, str(BURSTS), str(BURST), environment=environment)
    assert sender.returncode == 0, sender.stderr
    assert "XMLPARSER" not in sender.stderr + sender.stdout, "the profile has errors"
    # Best effort may lose an image on a starved machine; without the profile 4 of 30 arrive.
    assert int(sender.stdout.split()[-1]) >= BURSTS * BURST // 2


def test_the_shared_memory_segment_holds_many_frames() -> None:
    """Parsed, not only sent: a transport that is not found falls back to the default in silence."""
    space = {"d": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(PROFILE).getroot()
    defined = {e.text for e in root.findall(".//d:transport_descriptor/d:transport_id", space)}
    used = {e.text for e in root.findall(".//d:userTransports/d:transport_id", space)}
    assert used == defined
    rgbd_bytes = 640 * 480 * (3 + 2)
    segment = root.findtext(".//d:segment_size", namespaces=space)
    assert segment is not None
    assert int(segment) >= 20 * rgbd_bytes
