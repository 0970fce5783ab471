import pytest
from hypothesis import given
from hypothesis import strategies as st

from clar_core.control import supervisor as module
from clar_core.control.supervisor import TABLE, Change, Event, Mode, RefusedError, Supervisor


def armed(**kwargs: object) -> Supervisor:
    supervisor = Supervisor(**kwargs)  # type: ignore[arg-type]
    supervisor.arm(0.0)
    return supervisor


def running(owner: str = "policy") -> Supervisor:
    supervisor = armed()
    supervisor.start(owner, 0.0)
    return supervisor


def test_it_begins_disarmed() -> None:
    assert Supervisor().mode is Mode.DISARMED


def test_motion_needs_arm_then_start() -> None:
    supervisor = Supervisor()
    with pytest.raises(RefusedError, match="run `clar arm` first"):
        supervisor.start("policy", 0.0)
    supervisor.arm(0.0)
    supervisor.start("policy", 1.0)
    assert (supervisor.mode, supervisor.owner) == (Mode.RUNNING, "policy")


def test_arming_is_refused_with_every_objection() -> None:
    supervisor = Supervisor()
    with pytest.raises(RefusedError, match="outside the box; user stop pressed"):
        supervisor.arm(0.0, ["outside the box", "user stop pressed"])
    assert supervisor.mode is Mode.DISARMED


def test_stop_ends_a_run_armed_and_ownerless() -> None:
    supervisor = running()
    supervisor.stop("time limit", 1.0)
    assert (supervisor.mode, supervisor.owner, supervisor.reason) == (Mode.ARMED, "", "time limit")


def test_stop_is_never_refused() -> None:
    for supervisor in (Supervisor(), armed(), running()):
        supervisor.stop("stop", 0.0)
    supervisor = running()
    supervisor.halt("reflex", 0.0)
    supervisor.stop("stop", 0.0)
    assert (supervisor.mode, supervisor.reason) == (Mode.HALTED, "reflex")


def test_a_halt_keeps_its_first_cause_and_is_left_only_by_the_operator() -> None:
    supervisor = running()
    supervisor.halt("reflex", 1.0)
    assert supervisor.halt("network", 2.0) is None
    assert supervisor.reason == "reflex"
    with pytest.raises(RefusedError, match="clar recover"):
        supervisor.arm(3.0)
    with pytest.raises(RefusedError, match="clar recover"):
        supervisor.start("policy", 3.0)
    supervisor.recover(4.0)
    assert supervisor.mode is Mode.DISARMED


def test_taking_over_is_explicit_and_the_loser_is_told() -> None:
    changes: list[Change] = []
    supervisor = armed(on_change=changes.append)
    supervisor.start("policy", 0.0)
    supervisor.start("teleop", 1.0)
    assert supervisor.owner == "teleop"
    assert changes[-1].previous_owner == "policy"
    assert str(changes[-1]) == "RUNNING -> RUNNING(teleop): teleop took over from policy"


def test_a_start_without_an_owner_is_refused() -> None:
    with pytest.raises(RefusedError, match="name the command source"):
        armed().start("", 0.0)


def test_armed_and_idle_disarms_after_a_minute() -> None:
    supervisor = armed()
    assert supervisor.tick(59.9) is None
    supervisor.keep_awake(59.9)
    assert supervisor.tick(119.8) is None
    assert supervisor.tick(119.9) is not None
    assert (supervisor.mode, supervisor.reason) == (Mode.DISARMED, "armed and idle for 60 s")


def test_running_is_never_idle() -> None:
    supervisor = running()
    assert supervisor.tick(1e6) is None
    assert supervisor.mode is Mode.RUNNING


def test_recovery_is_refused_when_nothing_is_wrong() -> None:
    with pytest.raises(RefusedError, match="nothing to recover from"):
        Supervisor().recover(0.0)


events = st.lists(st.sampled_from(["arm", "start", "stop", "disarm", "recover", "halt", "tick"]), max_size=40)


@given(events)
def test_every_transition_is_one_of_the_table(names: list[str]) -> None:
    changes: list[Change] = []
    supervisor = Supervisor(idle_disarm_s=3.0, on_change=changes.append)
    requests = {
        "arm": supervisor.arm,
        "start": lambda now_s: supervisor.start("policy", now_s),
        "stop": lambda now_s: supervisor.stop("stop", now_s),
        "disarm": lambda now_s: supervisor.disarm("disarm", now_s),
        "recover": supervisor.recover,
        "halt": lambda now_s: supervisor.halt("fault", now_s),
        "tick": supervisor.tick,
    }
    mode = supervisor.mode
    for now_s, name in enumerate(names):
        count = len(changes)
        try:
            requests[name](float(now_s))
        except RefusedError:
            assert len(changes) == count
        for change in changes[count:]:
            assert change.source is mode
            assert any((r.source, r.event, r.target) == (mode, change.event, change.target) for r in TABLE)
            mode = change.target
        assert supervisor.mode is mode
        assert bool(supervisor.owner) == (mode is Mode.RUNNING)


def test_the_only_way_into_running_is_a_start() -> None:
    assert {row.event for row in TABLE if row.target is Mode.RUNNING} == {Event.START}
    assert {row.source for row in TABLE if row.target is Mode.RUNNING} == {Mode.ARMED, Mode.RUNNING}


def test_diagram_and_table_show_every_transition() -> None:
    assert module.mermaid().count("-->") == len(TABLE) + 1
    assert module.markdown().count("\n") == len(TABLE) + 1
