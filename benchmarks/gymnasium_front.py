"""The gymnasium front: the experts' success over fresh starts, and its speed against real time."""

from __future__ import annotations

import argparse
import sys
import time

from harness import Benchmark
from tqdm import tqdm

from clar_core.evaluation.statistics import Proportion
from clar_core.evaluation.trials import EXPERT, FRESH_SEEDS, ExpertActor, evaluate, run_trial
from clar_core.simulation.collect import drive
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.simulation.perturbation import Perturbation
from clar_core.simulation.tasks import TASKS

EXPERT_BOUND = 0.98
PERTURBED_BOUND = 0.95
SPEED_BOUND = 5.0
TIMED_TRIALS = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--trials", type=int, default=100)
    options = parser.parse_args()
    bench = Benchmark("gymnasium_front", "experts' success, and speed in one process on one core")
    seeds = range(FRESH_SEEDS, FRESH_SEEDS + options.trials)
    for task in sorted(TASKS):
        for render_depth, what in ((True, "with depth, cloud and proprioception"), (False, "with proprioception only")):
            speed = measure_speed(task, render_depth)
            bench.claim(f"{task}: {what}", speed, "x real time", at_least=SPEED_BOUND, reference="1 x: the live front")
    for task in sorted(TASKS):
        trials = list(
            tqdm(evaluate(task, EXPERT, seeds, render_depth=False), total=len(seeds), unit="trial", desc=task)
        )
        outcome = Proportion(sum(t.success for t in trials), len(trials))
        failed = sorted(t.seed for t in trials if not t.success)
        reference = f"{outcome}; failed seeds: {', '.join(map(str, failed)) or 'none'}"
        bench.claim(f"{task}: expert's success rate", outcome.rate, "", at_least=EXPERT_BOUND, reference=reference)
    for task in sorted(TASKS):
        env = CellEnv(EnvConfig(task=task, render_depth=False))
        for perturb, kind in ((Perturbation(), "pushes"), (Perturbation(miss_rate=0.03), "pushes and misses")):
            outcomes = [
                drive(env, seed, lambda observation, label: None, perturb=perturb)
                for seed in tqdm(seeds, unit="trial", desc=f"{task}, {kind}")
            ]
            outcome = Proportion(sum(outcomes), len(outcomes))
            bench.claim(
                f"{task}: expert's success rate under {kind}",
                outcome.rate,
                "",
                at_least=PERTURBED_BOUND,
                reference=f"{outcome}",
            )
    return bench.finish()


def measure_speed(task: str, render_depth: bool) -> float:
    """Simulated seconds per wall second over whole trials, resets included."""
    env = CellEnv(EnvConfig(task=task, render_depth=render_depth))
    try:
        actor = ExpertActor(env)
        run_trial(env, actor, FRESH_SEEDS)
        started = time.perf_counter()
        simulated_s = sum(run_trial(env, actor, FRESH_SEEDS + i).duration_s for i in range(1, TIMED_TRIALS + 1))
        return simulated_s / (time.perf_counter() - started)
    finally:
        env.close()


if __name__ == "__main__":
    sys.exit(main())
