"""Figures of a live run: what falls between START and verdict counts, and nothing else."""

import json
import math

import pytest

from clar_core.evaluation.live import LiveRun, LiveTrial, SimSample, StageSample, Tick, format_summary


def tick(time_s: float, latency_ms: float = 40.0, *, on_time: bool = True, skipped: str = "") -> Tick:
    command_s = math.nan if skipped else time_s + 0.01
    return Tick(time_s, time_s + 0.01 - latency_ms / 1000.0, command_s, on_time and not skipped, skipped)


@pytest.fixture
def run() -> LiveRun:
    run = LiveRun("place_cube_in_basin", "shipped", "put the cube into the basin")
    run.trials = [
        LiveTrial(0, 7, True, 5.0, "success", 100.0, 105.0),
        LiveTrial(1, 8, False, 5.0, "time limit of 5 s", 110.0, 115.0),
    ]
    run.ticks = [tick(100.0 + 0.1 * i) for i in range(50)] + [tick(110.0 + 0.1 * i) for i in range(50)]
    run.states = [SimSample(t.time_s, 7 if t.time_s < 108 else 8, 0.9, (0.0, 1.0)) for t in run.ticks]
    run.stages = [StageSample(t.time_s, "policy", {"encode": 5.0}) for t in run.ticks]
    return run


def test_ticks_between_trials_do_not_count(run: LiveRun) -> None:
    run.ticks += [tick(107.0, on_time=False), tick(99.9, 500.0), tick(116.0, skipped="no cloud yet")]
    summary = run.summary()
    assert (summary["ticks"], summary["ticks_on_time"]) == (100, 100)
    assert summary["capture_to_command_ms"]["p99"] == pytest.approx(40.0, abs=0.01)


def test_skipped_ticks_are_late_and_counted_by_reason_but_have_no_latency(run: LiveRun) -> None:
    run.ticks += [tick(101.05, skipped="observation is 181 ms old"), tick(102.05, skipped="observation is 99 ms old")]
    summary = run.summary()
    assert (summary["ticks"], summary["ticks_on_time"]) == (102, 100)
    assert summary["ticks_skipped"] == {"observation is # ms old": 2}
    assert summary["capture_to_command_ms"]["count"] == 100


def test_the_summary_has_the_documented_fields_and_is_json(run: LiveRun) -> None:
    summary = json.loads(json.dumps(run.summary()))
    assert summary["task"] == "place_cube_in_basin"
    assert (summary["trials"], summary["successes"], summary["seeds"]) == (2, 1, [7, 8])
    assert {"p50", "p99"} <= set(summary["capture_to_command_ms"])
    assert summary["stages_ms"]["policy"]["encode"]["p50"] == 5.0
    assert summary["real_time_factor"] == 0.9


def test_a_slow_simulator_is_objected_to_by_name(run: LiveRun) -> None:
    assert run.objections() == []
    run.states = [SimSample(s.time_s, s.seed, 0.7, s.qpos) for s in run.states]
    (objection,) = run.objections()
    assert objection.startswith("real-time factor: expected at least 0.8, measured 0.70")


def test_a_machine_that_is_late_for_every_tenth_tick_is_remarked_on(run: LiveRun) -> None:
    assert run.remarks() == []
    run.ticks += [tick(101.05 + 0.01 * i, on_time=False) for i in range(20)]
    (remark,) = run.remarks()
    assert remark.startswith("ticks on time: 83 %, expected at least 90 %")
    assert remark in format_summary(run)
    assert run.objections() == []


def test_a_run_without_simulator_states_does_not_count(run: LiveRun) -> None:
    run.states = []
    assert "real-time factor" in run.objections()[0]
    assert run.summary()["real_time_factor"] is None


def test_takes_hold_the_states_of_their_own_trial(run: LiveRun) -> None:
    first, second = run.takes()
    assert (len(first.times_s), len(second.times_s)) == (50, 50)
    assert first.times_s[0] == pytest.approx(0.0)
    assert first.qpos.shape == (50, 2)
    run.states.append(SimSample(111.0, 7, 0.9, (0.0, 1.0)))
    assert len(run.takes()[1].times_s) == 50, "a state of another start was taken"


def test_an_empty_run_can_be_summarised() -> None:
    run = LiveRun("place_cube_in_basin", "shipped")
    assert run.summary()["ticks"] == 0
    assert run.takes() == []
    assert "success" in format_summary(run)


def test_the_printed_summary_names_failures_with_their_reason(run: LiveRun) -> None:
    text = format_summary(run)
    assert "FAILURE" in text
    assert "time limit of 5 s" in text
    assert "real-time factor    0.90" in text
