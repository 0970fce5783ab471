"""Who moves the arm talks by UDP alone: within the reach that was asked for, and still heard by everybody."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from clar.transport import SHIPPED, UDP, UDP_LOOPBACK, keep_off_shared_memory
from tests.ros.processes import run_script, script_process

CONFIG = Path(__file__).parents[2] / "ros2_ws/src/clar/config"
SPACE = {"d": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
SET_UP = {
    "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
    "FASTRTPS_DEFAULT_PROFILES_FILE": str(CONFIG / SHIPPED),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
}
REACH, BEFORE_IRON = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"

# Says "heard" to whoever asks, over whatever transport its environment gives it.
ANSWERS = """
    import rclpy
    from std_srvs.srv import Trigger
    rclpy.init()
    node = rclpy.create_node("answers")
    def answer(_, response):
        response.message = "heard"
        return response
    node.create_service(Trigger, "/question", answer)
    rclpy.spin(node)
"""

ASKS = """
    import pathlib, rclpy, sys
    from std_srvs.srv import Trigger
    from clar.transport import keep_off_shared_memory
    if keep_off_shared_memory(folder=pathlib.Path(sys.argv[1])):
        sys.exit("left as it was")
    rclpy.init()
    node = rclpy.create_node("asks")
    client = node.create_client(Trigger, "/question")
    if not client.wait_for_service(60.0):
        sys.exit("nobody there")
    future = client.call_async(Trigger.Request())
    rclpy.spin_until_future_complete(node, future, timeout_sec=60.0)
    print(future.result().message, "/dev/shm/fastrtps_" in pathlib.Path("/proc/self/maps").read_text())
"""


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_a_process_without_shared_memory_is_heard_by_one_with_it(ros_domain: int, reach: str) -> None:
    environment = SET_UP | {REACH: reach, "ROS_DOMAIN_ID": str(ros_domain)}
    with script_process(ANSWERS, environment) as answers:
        asks = run_script(ASKS, str(CONFIG), environment=environment)
        others = Path(f"/proc/{answers.pid}/maps").read_text()
    assert "/dev/shm/fastrtps_" in others, "what tells shared memory is no longer its name"
    assert asks.returncode == 0, asks.stderr
    assert "XMLPARSER" not in asks.stderr + asks.stdout, "the profile has errors"
    assert asks.stdout.splitlines()[-1] == "heard False", "in shared memory all the same"


@pytest.mark.parametrize(
    ("given", "profile", "reach"),
    [
        ({}, UDP_LOOPBACK, "SYSTEM_DEFAULT"),
        ({REACH: "localhost"}, UDP_LOOPBACK, "SYSTEM_DEFAULT"),  # rcl takes what it does not know for LOCALHOST
        ({REACH: "SUBNET", BEFORE_IRON: "1"}, UDP_LOOPBACK, "SYSTEM_DEFAULT"),
        ({"RMW_IMPLEMENTATION": "", "FASTRTPS_DEFAULT_PROFILES_FILE": ""}, UDP_LOOPBACK, "SYSTEM_DEFAULT"),
        ({REACH: "SUBNET"}, UDP, "SUBNET"),
        ({REACH: "SUBNET", "ROS_STATIC_PEERS": "10.0.0.2"}, UDP, "SUBNET"),
        ({REACH: "SYSTEM_DEFAULT"}, UDP, "SYSTEM_DEFAULT"),
        ({REACH: "OFF"}, UDP, "OFF"),
        ({REACH: ""}, UDP, ""),
    ],
)
def test_the_reach_stays_what_was_asked_for(given: dict[str, str], profile: str, reach: str) -> None:
    environment = SET_UP | given
    assert keep_off_shared_memory(environment, CONFIG) == ""
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(CONFIG / profile)
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == reach
    assert "ROS_LOCALHOST_ONLY" not in environment


def test_a_child_of_such_a_process_gets_the_same() -> None:
    environment = dict(SET_UP)
    keep_off_shared_memory(environment, CONFIG)
    before = dict(environment)
    assert keep_off_shared_memory(environment, CONFIG) == ""
    assert environment == before


@pytest.mark.parametrize(
    "given",
    [
        {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"},
        {"ROS_STATIC_PEERS": "10.0.0.2"},
        {"ROS_DISCOVERY_SERVER": "10.0.0.2:11811"},
    ],
)
def test_what_somebody_chose_is_left_alone_and_named(given: dict[str, str]) -> None:
    environment = SET_UP | given
    (value,) = given.values()
    assert value in keep_off_shared_memory(environment, CONFIG)
    assert environment == SET_UP | given


def test_a_profile_of_ones_own_is_left_alone_whatever_its_name(tmp_path: Path) -> None:
    own = tmp_path / SHIPPED
    own.write_text((CONFIG / SHIPPED).read_text().replace("33554432", "65536"))
    given = SET_UP | {"FASTRTPS_DEFAULT_PROFILES_FILE": str(own)}
    environment = dict(given)
    assert f"{own}, not CLAR's" in keep_off_shared_memory(environment, CONFIG)
    assert environment == given


def test_a_copy_of_the_shipped_profile_is_clars(tmp_path: Path) -> None:
    copy = tmp_path / "installed.xml"
    copy.write_bytes((CONFIG / SHIPPED).read_bytes())
    assert keep_off_shared_memory(SET_UP | {"FASTRTPS_DEFAULT_PROFILES_FILE": str(copy)}, CONFIG) == ""


def test_without_its_profile_the_reach_is_not_widened(tmp_path: Path) -> None:
    (tmp_path / SHIPPED).write_bytes((CONFIG / SHIPPED).read_bytes())
    environment = dict(SET_UP)
    assert f"{tmp_path / UDP_LOOPBACK} is no file: run make setup" in keep_off_shared_memory(environment, tmp_path)
    assert environment == SET_UP


def test_the_profiles_have_udp_alone_and_one_knows_no_network() -> None:
    for name, addresses in ((UDP, []), (UDP_LOOPBACK, ["127.0.0.1"])):
        root = ElementTree.parse(CONFIG / name).getroot()
        assert [e.text for e in root.findall(".//d:transport_descriptor/d:type", SPACE)] == ["UDPv4"]
        defined = [e.text for e in root.findall(".//d:transport_descriptor/d:transport_id", SPACE)]
        assert [e.text for e in root.findall(".//d:userTransports/d:transport_id", SPACE)] == defined
        assert [e.text for e in root.findall(".//d:interfaceWhiteList/d:address", SPACE)] == addresses
        assert root.findtext(".//d:useBuiltinTransports", namespaces=SPACE) == "false"
