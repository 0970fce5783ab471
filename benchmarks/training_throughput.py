"""Training samples and rollouts a second against plain loops, and the head's rate on cached features."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from harness import Benchmark

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, collate, fit_normalizer
from clar_core.data.store import StoreWriter
from clar_core.evaluation.trials import EXPERT, FRESH_SEEDS, ExpertActor, evaluate, run_trial
from clar_core.losses import policy_loss
from clar_core.models.registry import PolicyConfig, build_policy, encoder_preset
from clar_core.simulation.collect import rollout
from clar_core.simulation.env import CellEnv, EnvConfig
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.run import ImitationRun
from clar_core.workers import available_cores

TASK = "pick_banana"
CACHED_BOUND = 10_000.0
EPISODES = 6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="clar_cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Benchmark("training_throughput", f"training and rollouts, {options.encoder}, {options.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        store = demonstrate(Path(folder) / "store")
        config = ImitationConfig(
            stores=(store,),
            output=Path(folder) / "run",
            encoder=options.encoder,
            threads=options.threads,
            workers=1,
            device="cpu",
            cached_views=2,
            validation_fraction=0.2,
            resume=False,
        )
        training(bench, config)
    rollouts(bench)
    return bench.finish()


def demonstrate(directory: Path) -> Path:
    """A few expert episodes of the simulated cell."""
    env = CellEnv(EnvConfig(task=TASK))
    writer = StoreWriter(directory, env.config.spec)
    for seed in range(EPISODES):
        writer.append(rollout(env, seed))
    env.close()
    return directory


def training(bench: Benchmark, config: ImitationConfig) -> None:
    """Whole policies against a plain loop, and heads on cached features against encoding every time."""
    before = plain_loop(config, frozen=False)
    ours = rate(config, skipped=8, counted=32)
    plain = (before + plain_loop(config, frozen=False)) / 2  # around it: a shared machine's speed drifts
    bench.claim("training, samples/s", ours, "1/s", reference=f"plain PyTorch loop: {plain:.1f}/s in this run")
    bench.claim("training against the plain loop", ours / plain, "x", at_least=1.0, reference="same data and model")
    encoded = plain_loop(config, frozen=True)
    frozen = replace(config, encoder_training="frozen_random")
    for batch in (32, 256):
        cached = rate(replace(frozen, batch_size=batch), skipped=500, counted=4000)
        bench.claim(
            f"head on cached features, batch {batch}, samples/s",
            cached,
            "1/s",
            at_least=CACHED_BOUND,
            reference=f"frozen encoder run at every step: {encoded:.1f}/s, {cached / encoded:.0f} times slower",
        )


def rate(config: ImitationConfig, *, skipped: int, counted: int) -> float:
    """Samples a second of ``train_imitation`` over ``counted`` steps after some others; nothing else counts."""
    ended: list[float] = []
    record_step = ImitationRun.record_step

    def recorded(run: ImitationRun, *what: Any) -> None:
        record_step(run, *what)
        ended.append(time.perf_counter())

    samples = (skipped + counted) * config.batch_size
    run = replace(config, samples=samples, validate_every=10 * samples, save_every=10 * samples)
    with (
        mock.patch.object(ImitationRun, "record_step", recorded),
        open(os.devnull, "w") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        train_imitation(run)
    return counted * config.batch_size / (ended[-1] - ended[skipped - 1])


def plain_loop(config: ImitationConfig, *, frozen: bool) -> float:
    """Samples a second of the loop that one writes first: samples prepared in turn, an optimiser, averaged weights."""
    data = Demonstrations.load(config.stores)
    episodes = range(len(data.episodes))
    varied = AugmentationConfig()
    dataset = ImitationDataset(data, episodes, fit_normalizer(data, episodes, varied, 0), varied)
    policy = build_policy(PolicyConfig(encoder=encoder_preset(config.encoder))).train()
    if frozen and policy.encoder is not None:
        policy.encoder.requires_grad_(False)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, foreach=False)
    average = {name: value.clone() for name, value in policy.state_dict().items()}
    steps, started = 12, 0.0
    for step in range(-2, steps):
        if step == 0:
            started = time.perf_counter()
        rows = torch.randint(len(dataset), (config.batch_size,)).tolist()
        batch = collate([dataset[SampleKey(0, step + 2, row)] for row in rows])
        loss = policy_loss(policy(batch.seen, batch.state), batch.action).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        optimizer.step()
        with torch.no_grad():
            for name, value in policy.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 0.001)
    return steps * config.batch_size / (time.perf_counter() - started)


def rollouts(bench: Benchmark) -> None:
    """Trials a second in worker processes against one after the other in this process."""
    cores = available_cores()
    env = CellEnv(EnvConfig(task=TASK, render_depth=False))
    actor = ExpertActor(env)
    run_trial(env, actor, FRESH_SEEDS)
    count = 24
    started = time.perf_counter()
    for seed in range(FRESH_SEEDS, FRESH_SEEDS + count):
        run_trial(env, actor, seed)
    plain = count / (time.perf_counter() - started)
    # The first results come when a worker has started; from there on the rate is that of a long evaluation.
    seeds = range(FRESH_SEEDS, FRESH_SEEDS + 4 * count)
    times = [time.perf_counter() for _ in evaluate(TASK, EXPERT, seeds, workers=cores, render_depth=False)]
    skipped = 2 * cores
    parallel = (len(times) - 1 - skipped) / (times[-1] - times[skipped])
    bench.claim(f"rollouts in {cores} process(es)", parallel, "1/s", reference=f"plain loop: {plain:.2f}/s in this run")
    floor = 0.7 * cores if cores > 1 else 0.8
    bench.claim("rollouts against the plain loop", parallel / plain, "x", at_least=floor, reference=f"{cores} cores")


if __name__ == "__main__":
    sys.exit(main())
