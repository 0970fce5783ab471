"""The shipped checkpoint over fresh starts of the gymnasium front: success with its Wilson interval."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import ROOT, Benchmark
from tqdm import tqdm

from clar_core.evaluation.statistics import Proportion
from clar_core.evaluation.trials import FRESH_SEEDS, evaluate, summarize

BOUND = 0.97


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="place_cube_in_basin")
    parser.add_argument("--checkpoint", type=Path, help="another checkpoint than the one shipped for the task")
    parser.add_argument("-n", "--trials", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=FRESH_SEEDS)
    options = parser.parse_args()
    checkpoint = options.checkpoint or ROOT / "checkpoints" / options.task

    bench = Benchmark("demo_checkpoint", f"{options.task}: success over {options.trials} fresh starts")
    seeds = range(options.first_seed, options.first_seed + options.trials)
    trials = list(tqdm(evaluate(options.task, checkpoint, seeds), total=len(seeds), unit="trial"))
    trials.sort(key=lambda trial: trial.seed)
    outcome = Proportion(sum(t.success for t in trials), len(trials))
    low, high = outcome.interval()
    bench.claim(
        f"{options.task}: success rate",
        outcome.rate,
        "",
        at_least=BOUND,
        reference=f"{outcome}; gymnasium seeds {seeds.start} to {seeds.stop - 1}",
    )
    bench.claim("lower end of the 95 % Wilson interval", low, "")
    bench.claim("upper end of the 95 % Wilson interval", high, "")
    bench.extra = {"checkpoint": str(checkpoint), "trials": summarize(trials)}
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
