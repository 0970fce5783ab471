"""The manager brings managed nodes up in order, tells why it cannot, and brings back what crashed."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String
from std_srvs.srv import Trigger

from clar import names, qos
from clar_interfaces.msg import RobotState
from tests.ros.processes import Probe, node_process, wait_for

EXAMPLE = "tests.ros.example_node"
MANAGER = "clar.nodes.manager"


def manage(**parameters: object) -> dict[str, object]:
    return {"managed_nodes": ["example"], "hardware": "sim", **parameters}


def test_the_stack_is_ready_when_every_node_is_active(probe: Probe) -> None:
    statuses = probe.collect(DiagnosticStatus, names.TOPIC_MANAGER_STATUS, qos.LATCHED)
    with node_process(MANAGER, manage()) as manager, node_process(EXAMPLE) as example:
        manager.wait_for_output("the stack is active and DISARMED (clar arm); next: clar start policy")
        assert "active, topics" in example.output
        wait_for(lambda: statuses and statuses[-1].message == "ready", "ready on the status topic")
        answer = probe.call(Trigger, names.SERVICE_MANAGER_STATUS, Trigger.Request())
        assert answer.success
        assert answer.message == "ready"
        assert manager.interrupt() == 0


def test_a_node_that_refuses_is_quoted_and_ends_the_manager_with_an_error() -> None:
    with node_process(EXAMPLE, {"refuses": "configure"}), node_process(MANAGER, manage()) as manager:
        assert manager.wait_for_exit() == 1
        assert "example refused to configure: configure: expected a cell file, found none" in manager.output


def test_a_node_that_never_appears_is_named() -> None:
    with node_process(MANAGER, manage(ready_timeout_s=1.0)) as manager:
        assert manager.wait_for_exit() == 1
        assert "example did not appear within 1 s: is its process running?" in manager.output


def test_inputs_that_never_come_are_named() -> None:
    parameters = {"input_topic": "in", "diagnostics_period_s": 0.1}
    with node_process(EXAMPLE, parameters) as example:
        example.wait_for_output("")
        with node_process(MANAGER, manage(ready_timeout_s=15.0)) as manager:
            assert manager.wait_for_exit() == 1
            assert "example still waits for an input after 15 s" in manager.output


def test_a_node_that_crashed_is_brought_up_again(probe: Probe) -> None:
    with node_process(MANAGER, manage()) as manager:
        with node_process(EXAMPLE, {"input_topic": "in", "diagnostics_period_s": 0.1}) as example:
            publisher = probe.node.create_publisher(String, "in", 1)
            wait_for(publisher.get_subscription_count, "the subscription")
            publisher.publish(String(data="x"))
            manager.wait_for_output("the stack is active")
            publisher.publish(String(data="crash"))
            assert example.wait_for_exit() == -9
        with node_process(EXAMPLE, {"diagnostics_period_s": 0.1}) as example:
            manager.wait_for_output("example came back after an unexpected end")
            example.wait_for_output("active, topics")


def test_a_gate_that_opens_late_is_waited_for_before_arming(probe: Probe) -> None:
    modes = probe.node.create_publisher(RobotState, names.TOPIC_ROBOT_MODE, qos.LATCHED)
    modes.publish(RobotState(mode=RobotState.MODE_DISARMED))
    asked: list[None] = []

    def arm(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked.append(None)
        response.success = len(asked) > 2
        response.message = "" if response.success else "cannot arm: calibration: the camera's place is not known yet"
        if response.success:
            modes.publish(RobotState(mode=RobotState.MODE_ARMED))
        return response

    probe.node.create_service(Trigger, names.SERVICE_ARM, arm)
    with node_process(EXAMPLE), node_process(MANAGER, manage(auto_arm=True)) as manager:
        manager.wait_for_output("the stack is active and ARMED")
        assert manager.output.count("waits to arm, at most 20 s") == 1
        assert "the camera's place is not known yet" in manager.output
    assert len(asked) == 3


def test_arming_by_itself_is_refused_with_real_hardware() -> None:
    with node_process(MANAGER, manage(hardware="real", auto_arm=True)) as manager:
        assert manager.wait_for_exit() == 1
        assert "auto_arm: expected false with hardware real" in manager.output
