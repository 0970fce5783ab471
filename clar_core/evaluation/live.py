"""What a live run amounts to: trials, ticks, stage durations and simulator states in, the summary's figures out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clar_core.evaluation.statistics import Percentiles, Proportion
from clar_core.visualization.film import Take

MIN_REAL_TIME_FACTOR = 0.8
"""Below it a tick executes visibly less than was commanded: the run says little about the policy."""
MIN_ON_TIME = 0.99
ON_TIME_REMARKED = 0.9
"""Below it every tenth step is left out or halts the arm: the run says more about the machine than about the policy."""
MAX_CAPTURE_TO_COMMAND_MS = {"p50": 60.0, "p99": 120.0}


@dataclass(frozen=True)
class LiveTrial:
    """One trial: ``start_s`` and ``end_s`` are wall time since the epoch, ``duration_s`` is START to verdict."""

    index: int
    seed: int
    success: bool
    duration_s: float
    reason: str
    start_s: float
    end_s: float

    def covers(self, time_s: float) -> bool:
        """Whether a moment lies between START and verdict."""
        return self.start_s <= time_s <= self.end_s


@dataclass(frozen=True)
class Tick:
    """One tick of the policy's clock. Times are seconds since the epoch; ``command_s`` is nan when it was skipped."""

    time_s: float
    capture_s: float
    command_s: float
    on_time: bool
    skipped: str

    @property
    def capture_to_command_ms(self) -> float:
        """From the capture of the depth image to the publication of the command it caused."""
        return 1000.0 * (self.command_s - self.capture_s)


@dataclass(frozen=True)
class StageSample:
    """Durations of the stages of one frame in one node; ``time_s`` is its capture, seconds since the epoch."""

    time_s: float
    node: str
    durations_ms: dict[str, float]


@dataclass(frozen=True)
class SimSample:
    """One state of the simulated cell; ``time_s`` since the epoch, ``qpos`` as in the task's model."""

    time_s: float
    seed: int
    real_time_factor: float
    qpos: tuple[float, ...]


@dataclass
class LiveRun:
    """Everything that was observed of a run. Only what falls into a trial counts."""

    task: str
    checkpoint: str
    instruction: str = ""
    trials: list[LiveTrial] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    stages: list[StageSample] = field(default_factory=list)
    states: list[SimSample] = field(default_factory=list)

    @property
    def outcome(self) -> Proportion:
        """Successes out of trials."""
        return Proportion(sum(t.success for t in self.trials), len(self.trials))

    @property
    def counted_ticks(self) -> list[Tick]:
        """Ticks between START and verdict of a trial."""
        return [tick for tick in self.ticks if self._in_a_trial(tick.time_s)]

    @property
    def capture_to_command(self) -> Percentiles:
        """Latency over the counted ticks that gave a command, in ms."""
        return Percentiles.of(tick.capture_to_command_ms for tick in self.counted_ticks)

    @property
    def on_time(self) -> float:
        """Part of the counted ticks whose command came in time; 1 without ticks."""
        ticks = self.counted_ticks
        return sum(tick.on_time for tick in ticks) / len(ticks) if ticks else 1.0

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds per wall second, the mean over the trials; nan without states."""
        factors = [s.real_time_factor for s in self.states if self._in_a_trial(s.time_s)]
        return float(np.mean(factors)) if factors else math.nan

    def stage_percentiles(self) -> dict[str, dict[str, Percentiles]]:
        """Node -> stage -> percentiles in ms, over the frames captured during trials."""
        samples: dict[str, dict[str, list[float]]] = {}
        for sample in self.stages:
            if self._in_a_trial(sample.time_s):
                for stage, duration in sample.durations_ms.items():
                    samples.setdefault(sample.node, {}).setdefault(stage, []).append(duration)
        return {
            node: {stage: Percentiles.of(values) for stage, values in stages.items()}
            for node, stages in sorted(samples.items())
        }

    def takes(self) -> list[Take]:
        """The states of each trial, to be drawn again."""
        return [self._take(trial) for trial in self.trials]

    def summary(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        ticks = self.counted_ticks
        factor = self.real_time_factor
        return {
            "task": self.task,
            "instruction": self.instruction,
            "checkpoint": self.checkpoint,
            "trials": self.outcome.trials,
            "successes": self.outcome.successes,
            "wilson_95": list(self.outcome.interval()),
            "seeds": [t.seed for t in self.trials],
            "outcomes": [
                {"seed": t.seed, "success": t.success, "duration_s": round(t.duration_s, 2), "reason": t.reason}
                for t in self.trials
            ],
            "ticks": len(ticks),
            "ticks_on_time": sum(tick.on_time for tick in ticks),
            "ticks_skipped": _count(tick.skipped for tick in ticks if tick.skipped),
            "capture_to_command_ms": self.capture_to_command.to_dict(),
            "stages_ms": {
                node: {stage: p.to_dict() for stage, p in stages.items()}
                for node, stages in self.stage_percentiles().items()
            },
            "real_time_factor": None if math.isnan(factor) else round(factor, 3),
        }

    def objections(self) -> list[str]:
        """Why the run does not count as one; empty when it does. A factor that is too low is named as such."""
        factor = self.real_time_factor
        if math.isnan(factor):
            return ["real-time factor: the simulator reported none during the trials"]
        if factor < MIN_REAL_TIME_FACTOR:
            return [
                f"real-time factor: expected at least {MIN_REAL_TIME_FACTOR}, measured {factor:.2f}: the machine is "
                "too slow or too busy to simulate the cell in real time; close other programs and run again"
            ]
        return []

    def remarks(self) -> list[str]:
        """What has to be known before the run is read; empty when there is nothing."""
        if self.on_time >= ON_TIME_REMARKED:
            return []
        return [
            f"ticks on time: {100 * self.on_time:.0f} %, expected at least {100 * ON_TIME_REMARKED:.0f} %: this "
            "machine is too slow or too busy for the policy at 10 Hz, and what the run shows is that. Close other "
            "programs, use a faster machine, or try the policy without real time: clar eval cell"
        ]

    def _in_a_trial(self, time_s: float) -> bool:
        return any(trial.covers(time_s) for trial in self.trials)

    def _take(self, trial: LiveTrial) -> Take:
        states = [s for s in self.states if trial.covers(s.time_s) and s.seed == trial.seed]
        return Take(
            title=f"trial {trial.index + 1}, seed {trial.seed}",
            success=trial.success,
            times_s=np.array([s.time_s - trial.start_s for s in states]),
            qpos=np.array([s.qpos for s in states]),
        )


def _count(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason was given; numbers in it are left out, so that like meets like."""
    counts: dict[str, int] = {}
    for reason in reasons:
        kind = "".join("#" if c.isdigit() else c for c in reason)
        while "##" in kind:
            kind = kind.replace("##", "#")
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def format_summary(run: LiveRun) -> str:
    """The run as text for a terminal: a line a trial, then the figures."""
    lines = ["", "trial  seed      result     time"]
    for t in run.trials:
        lines.append(
            f"{t.index + 1:>5}  {t.seed:<8}  {'success' if t.success else 'FAILURE':<9}  {t.duration_s:4.1f} s"
        )
        if not t.success:
            lines[-1] += f"   {t.reason}"
    ticks = run.counted_ticks
    late = sum(not tick.on_time for tick in ticks)
    latency = run.capture_to_command
    lines += [
        "",
        f"success             {run.outcome}",
        f"ticks at 10 Hz      {len(ticks)}, late or skipped {late}",
        f"capture -> command  p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms",
    ]
    lines += [f"  {name:<20}p50 {p.p50:6.2f} ms  p99 {p.p99:6.2f} ms" for name, p in _flat(run.stage_percentiles())]
    lines.append(f"real-time factor    {run.real_time_factor:.2f}")
    lines += [f"\n{remark}" for remark in run.remarks()]
    return "\n".join(lines)


def _flat(stages: dict[str, dict[str, Percentiles]]) -> Sequence[tuple[str, Percentiles]]:
    return [(f"{node}: {stage}", p) for node, of_node in stages.items() for stage, p in of_node.items()]
