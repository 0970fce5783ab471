"""The life of a node process: its hooks, its refusals, its exit status."""

from __future__ import annotations

import signal

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_msgs.msg import String

from clar import names, qos
from tests.ros.processes import NodeProcess, Probe, node_process, wait_for

EXAMPLE = "tests.ros.example_node"


def transition(probe: Probe, number: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=number))
    return bool(probe.call(ChangeState, "/example/change_state", request).success)


def state(probe: Probe) -> int:
    return int(probe.call(GetState, "/example/get_state", GetState.Request()).current_state.id)


def test_transitions_run_the_hooks_and_release_what_they_created(probe: Probe) -> None:
    with node_process(EXAMPLE) as process:
        assert state(probe) == State.PRIMARY_STATE_UNCONFIGURED
        for _ in range(2):
            assert transition(probe, Transition.TRANSITION_CONFIGURE)
            assert transition(probe, Transition.TRANSITION_ACTIVATE)
            assert state(probe) == State.PRIMARY_STATE_ACTIVE
            assert transition(probe, Transition.TRANSITION_DEACTIVATE)
            assert transition(probe, Transition.TRANSITION_CLEANUP)
        assert process.interrupt() == 0
        told = [line for line in process.output.splitlines() if not line.startswith("[")]
        once = [
            "active, topics ['/streaming']",
            "deactivated, context True",
            "released activate, topics ['/streaming']",
            "cleaned up",
            "released configure, topics []",
        ]
        assert told == once * 2


def test_ctrl_c_ends_an_active_node_in_order_with_a_working_context() -> None:
    with node_process(EXAMPLE, {"autostart": True}) as process:
        process.wait_for_output("active, topics")
        assert process.interrupt() == 0
        assert process.output.index("deactivated, context True") < process.output.index("cleaned up")


def test_a_refusal_is_logged_without_a_traceback_and_the_exit_status_is_one() -> None:
    for hook in ("configure", "activate"):
        with node_process(EXAMPLE, {"autostart": True, "refuses": hook}) as process:
            assert process.wait_for_exit() == 1
            assert f"example refuses to {hook}: {hook}: expected a cell file, found none; write one" in process.output
            assert "Traceback" not in process.output


def test_a_refused_transition_fails_and_is_named_in_the_diagnostics(probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    with node_process(EXAMPLE, {"refuses": "configure", "diagnostics_period_s": 0.1}) as process:
        assert not transition(probe, Transition.TRANSITION_CONFIGURE)
        assert state(probe) == State.PRIMARY_STATE_UNCONFIGURED

        def refusal() -> bool:
            status = diagnostics[-1].status[0] if diagnostics else DiagnosticStatus()
            return status.level == DiagnosticStatus.ERROR and "expected a cell file" in status.message

        wait_for(refusal, "the refusal in the diagnostics")
        assert process.interrupt() == 1


def test_a_defect_in_a_hook_is_logged_with_its_traceback() -> None:
    with node_process(EXAMPLE, {"autostart": True, "breaks": "configure"}) as process:
        assert process.wait_for_exit() == 1
        assert "TypeError: a defect" in process.output
        assert "Traceback" in process.output


def test_a_defect_in_a_callback_ends_the_process_in_order() -> None:
    with node_process(EXAMPLE, {"autostart": True, "callback_fails": True}) as process:
        assert process.wait_for_exit() == 1
        assert "IndexError in a callback" in process.output
        assert "deactivated, context True" in process.output


@pytest.mark.parametrize("when", ["during", "after"])
def test_a_defect_in_a_thread_of_a_node_ends_the_process_in_order(when: str) -> None:
    """During: while the hook that started it still runs, and then succeeds."""
    with node_process(EXAMPLE, {"autostart": True, "thread_fails": when}) as process:
        assert process.wait_for_exit() == 1
        assert "IndexError in thread example" in process.output
        assert "Traceback" in process.output
        assert "deactivated, context True" in process.output


def test_a_first_ctrl_c_does_not_cut_off_an_end_that_the_node_began_itself() -> None:
    with node_process(EXAMPLE, {"autostart": True, "callback_fails": True, "slow_end_s": 0.5}) as process:
        process.wait_for_output("deactivates")
        assert process.interrupt() == 1
        assert "cleaned up" in process.output


def test_a_hook_that_fails_on_the_way_down_leaves_nothing_behind(probe: Probe) -> None:
    with node_process(EXAMPLE, {"refuses": "deactivate"}) as process:
        assert transition(probe, Transition.TRANSITION_CONFIGURE)
        assert transition(probe, Transition.TRANSITION_ACTIVATE)
        assert not transition(probe, Transition.TRANSITION_DEACTIVATE)
        assert state(probe) == State.PRIMARY_STATE_UNCONFIGURED
        assert "released configure, topics []" in process.output
        assert process.interrupt() == 1


def test_activation_waits_for_inputs_and_says_which(probe: Probe) -> None:
    with node_process(EXAMPLE, {"input_topic": "in"}) as process:
        assert transition(probe, Transition.TRANSITION_CONFIGURE)
        assert not transition(probe, Transition.TRANSITION_ACTIVATE)
        assert "still waiting for an input" in process.output
        publisher = probe.node.create_publisher(String, "in", 1)
        wait_for(publisher.get_subscription_count, "the subscription")
        publisher.publish(String(data="x"))
        wait_for(lambda: transition(probe, Transition.TRANSITION_ACTIVATE), "the activation")


def test_an_end_that_hangs_is_ended_by_force() -> None:
    with node_process(EXAMPLE, {"autostart": True, "slow_end_s": 60.0}) as process:
        process.wait_for_output("active, topics")
        assert process.interrupt() == 1
        assert "did not end within 1 s" in process.output


def test_a_second_ctrl_c_ends_at_once() -> None:
    with node_process(EXAMPLE, {"autostart": True, "slow_end_s": 60.0}) as process:
        process.wait_for_output("active, topics")
        process.process.send_signal(signal.SIGINT)
        assert interrupt_again(process) in (1, 128 + signal.SIGINT)


def interrupt_again(process: NodeProcess) -> int:
    process.process.send_signal(signal.SIGINT)
    return process.wait_for_exit()


def test_diagnostics_carry_phase_and_figures_every_period(probe: Probe) -> None:
    diagnostics = probe.collect(DiagnosticArray, names.TOPIC_DIAGNOSTICS, qos.STATUS)
    with node_process(EXAMPLE, {"autostart": True, "diagnostics_period_s": 0.1}):

        def active() -> dict[str, str] | None:
            values = {v.key: v.value for v in diagnostics[-1].status[0].values} if diagnostics else {}
            return values if values.get("phase") == "active" else None

        values = wait_for(active, "an active node in the diagnostics")
        assert values["figure"] == "1.25"
        assert values["waiting_for"] == ""


def test_an_unknown_parameter_is_refused_before_anything_runs() -> None:
    with node_process(EXAMPLE, {"refuse": "configure"}) as process:
        assert process.wait_for_exit() == 1
        assert "refuse: unknown parameter, did you mean refuses?" in process.output
