"""Capture to command in a live run of the whole stack, and the floor: the same work called directly."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import OUTPUT, ROOT, Benchmark

from clar_core.evaluation.live import MAX_CAPTURE_TO_COMMAND_MS, MIN_ON_TIME, MIN_REAL_TIME_FACTOR
from clar_core.evaluation.statistics import Percentiles
from clar_core.geometry.camera import deproject
from clar_core.observation.builder import build_cloud
from clar_core.runtime import PolicyRuntime
from clar_core.simulation.env import CellEnv, EnvConfig

MIN_SUCCESS = 0.8
REPEATS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="place_cube_in_basin")
    parser.add_argument("--checkpoint", type=Path, help="another checkpoint than the one shipped for the task")
    parser.add_argument("-n", "--trials", type=int, default=5)
    parser.add_argument("--robot-ip", default="", help="another loopback address for the simulated robot")
    options = parser.parse_args()
    checkpoint = options.checkpoint or ROOT / "checkpoints" / options.task

    bench = Benchmark("latency", "capture to command, live with the simulator on the same machine")
    claim_floor(bench, options.task, checkpoint)
    summary = run_live(options.task, checkpoint, options.trials, options.robot_ip)
    if summary is not None:
        claim_live(bench, summary)
        bench.extra = {"live": summary}
    return bench.finish() if summary is not None else max(1, bench.finish())


def run_live(task: str, checkpoint: Path, trials: int, robot_ip: str) -> dict | None:
    """Run the demonstration without pictures; its summary, None when it could not be run to the end."""
    output = OUTPUT / "latency_run"
    command = ["clar", "demo", task, "--checkpoint", str(checkpoint), "--trials", str(trials), "--no-video"]
    command += ["--output", str(output), *(["--robot-ip", robot_ip] if robot_ip else [])]
    subprocess.run(command, cwd=ROOT)
    path = output / "summary.json"
    return json.loads(path.read_text()) if path.exists() else None


def claim_live(bench: Benchmark, summary: dict) -> None:
    latency = summary["capture_to_command_ms"]
    for percentile, bound in MAX_CAPTURE_TO_COMMAND_MS.items():
        value = latency[percentile] if latency[percentile] is not None else float("nan")
        bench.claim(f"capture to command, {percentile}", value, "ms", at_most=bound, reference="")
    ticks = summary["ticks"]
    bench.claim(
        "10 Hz ticks on time",
        summary["ticks_on_time"] / ticks if ticks else float("nan"),
        "",
        at_least=MIN_ON_TIME,
        reference=f"{summary['ticks_on_time']} of {ticks}; skipped: {summary['ticks_skipped'] or 'none'}",
    )
    factor = summary["real_time_factor"]
    bench.claim("real-time factor", float("nan") if factor is None else factor, "x", at_least=MIN_REAL_TIME_FACTOR)
    trials = summary["trials"]
    bench.claim(
        "live success",
        summary["successes"] / trials if trials else float("nan"),
        "",
        at_least=MIN_SUCCESS,
        reference=f"{summary['successes']} of {trials}, seeds {summary['seeds']}",
    )


def claim_floor(bench: Benchmark, task: str, checkpoint: Path) -> None:
    """Medians of the same work on the same kind of frame, called in a loop with nothing else in the process."""
    runtime = PolicyRuntime.load(checkpoint, threads=1)  # as the policy node runs it
    runtime.warm_up()
    env = CellEnv(EnvConfig(task=task, spec=runtime.spec))
    observation, _ = env.reset(seed=1)
    assert env.camera is not None
    camera = env.camera
    depth = camera.render(env.data, np.random.default_rng(0))
    spec = runtime.spec
    near_far = {"depth_min_m": spec.depth_min_m, "depth_max_m": spec.depth_max_m}
    cloud, state = observation["cloud"], observation["state"]
    decisions = [runtime.act(cloud, state, None).stages_ms for _ in range(REPEATS)]
    floor = {
        "floor: deproject": median_ms(lambda: deproject(depth, camera.intrinsics, **near_far)),
        "floor: depth image to cloud": median_ms(
            lambda: build_cloud(depth, camera.intrinsics, env.T_base_camera, spec)
        ),
        **{f"floor: {stage}": Percentiles.of(d[stage] for d in decisions).p50 for stage in decisions[0]},
        "floor: decision in all": median_ms(lambda: runtime.act(cloud, state, None)),
    }
    env.close()
    for name, value in floor.items():
        bench.claim(name, value, "ms", reference="")


def median_ms(call: Callable[[], object]) -> float:
    durations = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        durations.append(1000.0 * (time.perf_counter() - started))
    return Percentiles.of(durations).p50


if __name__ == "__main__":
    sys.exit(main())
