import pytest

from clar_core.control.commands import ClockWatch, Command, CommandGate, CommandLimits, Judgement

NOW_NS = 1_800_000_000_000_000_000
MS = 1_000_000


def command(sequence: int = 1, *, age_ms: float = 5, observation_ms: float | None = 60, **changes: object) -> Command:
    fields: dict[str, object] = {
        "values": [0.0] * 7,
        "source": "policy",
        "sequence": sequence,
        "frame_id": "fr3_link0",
        "stamp_ns": NOW_NS - int(age_ms * MS),
        "observation_stamp_ns": 0 if observation_ms is None else NOW_NS - int(observation_ms * MS) + sequence,
    }
    return Command(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def gate() -> CommandGate:
    return CommandGate(CommandLimits())


def test_a_fresh_command_is_executed(gate: CommandGate) -> None:
    assert gate.judge(command(), NOW_NS, 10.0).judgement is Judgement.EXECUTE


def test_another_frame_is_rejected_by_name(gate: CommandGate) -> None:
    verdict = gate.judge(command(frame_id="world"), NOW_NS, 10.0)
    assert verdict.judgement is Judgement.DROP
    assert "'world'" in verdict.reason


@pytest.mark.parametrize("sequence", [7, 6, 0])
def test_a_sequence_that_repeats_or_goes_back_is_dropped(gate: CommandGate, sequence: int) -> None:
    gate.judge(command(7), NOW_NS, 10.0)
    assert gate.judge(command(sequence), NOW_NS, 10.1).judgement is Judgement.DROP
    assert gate.judge(command(8), NOW_NS, 10.2).judgement is Judgement.EXECUTE


def test_an_observation_older_than_150_ms_is_skipped_and_older_than_300_ms_halts(gate: CommandGate) -> None:
    judgements = [
        gate.judge(command(i, observation_ms=age), NOW_NS, 10.0).judgement
        for i, age in enumerate([140, 160, 290, 310], start=1)
    ]
    assert judgements == [Judgement.EXECUTE, Judgement.DROP, Judgement.DROP, Judgement.HALT]


def test_an_observation_that_is_repeated_grows_old_whatever_its_stamp_says(gate: CommandGate) -> None:
    # the wall clock of the source runs along with the repeated stamp: only the monotonic clock shows its age
    same = command(1, observation_ms=20).observation_stamp_ns
    ages_s = [0.0, 0.1, 0.2, 0.4]
    judgements = [
        gate.judge(command(i, observation_stamp_ns=same), NOW_NS, 10.0 + age).judgement
        for i, age in enumerate(ages_s, start=1)
    ]
    assert judgements == [Judgement.EXECUTE, Judgement.EXECUTE, Judgement.DROP, Judgement.HALT]


@pytest.mark.parametrize(("ahead_ms", "judgement"), [(15, Judgement.EXECUTE), (25, Judgement.HALT)])
def test_a_stamp_in_the_future_halts(gate: CommandGate, ahead_ms: float, judgement: Judgement) -> None:
    assert gate.judge(command(age_ms=-ahead_ms), NOW_NS, 10.0).judgement is judgement
    assert gate.judge(command(2, observation_ms=-ahead_ms), NOW_NS, 10.1).judgement is judgement


def test_a_command_older_than_its_expiry_is_dropped(gate: CommandGate) -> None:
    assert gate.judge(command(age_ms=210, observation_ms=None, source="teleop"), NOW_NS, 10.0).reason.startswith("late")


def test_too_many_late_commands_in_a_row_halt_and_one_in_time_starts_the_count_again(gate: CommandGate) -> None:
    ages = [160] * 5 + [50] + [160] * 6
    verdicts = [gate.judge(command(i, observation_ms=age), NOW_NS + i, 10.0 + i) for i, age in enumerate(ages, start=1)]
    assert [verdict.judgement for verdict in verdicts[:-1]].count(Judgement.HALT) == 0
    assert verdicts[-1].judgement is Judgement.HALT
    assert "6 late commands in a row" in verdicts[-1].reason


def test_only_some_sources_may_command_without_an_observation(gate: CommandGate) -> None:
    assert gate.judge(command(observation_ms=None), NOW_NS, 10.0).judgement is Judgement.DROP
    assert gate.judge(command(2, observation_ms=None, source="teleop"), NOW_NS, 10.0).judgement is Judgement.EXECUTE


def test_a_jump_of_the_wall_clock_is_seen_and_slow_steering_is_not() -> None:
    watch = ClockWatch()
    assert all(watch.update(100.0 + 1.001 * t, float(t)) is None for t in range(10))
    assert watch.update(110.5, 10.0) == pytest.approx(0.491, abs=0.01)
    assert watch.update(110.6, 10.1) is None
    assert watch.update(110.65, 10.2) == pytest.approx(-0.05)
