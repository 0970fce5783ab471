"""A pre-training step against a plain implementation of the same network: samples per CPU second, and peak memory."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from encoder import make_plain
from harness import Benchmark

from clar_core.data.pretrain import PretrainBatch
from clar_core.geometry.points import farthest_point_sampling
from clar_core.geometry.points_torch import farthest_point_sampling as torch_farthest_point_sampling
from clar_core.models.clar import Clar, ClarConfig, LossConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.masked_autoencoder import hidden_patches
from clar_core.models.registry import PRESETS
from clar_core.training.memory import keep_freed_memory
from clar_core.training.pretrain_objective import pretrain_losses

STORED, SAMPLED, MAP_DIM = 2048, 1024, 64
VARIANTS = ("plain", "fp32", "bf16")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["clar_cpu", "clar_small"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    bench = Benchmark("pretrain", "Pre-training steps against a plain implementation of the same network, one thread")
    for name in options.presets:
        # A process each for memory: peak memory is a process's, and so is the allocator's setting.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            memory = {v: pool.apply(peak_memory_mb, (name, v, options.batch)) for v in VARIANTS}
        speed = samples_per_second(name, options.batch, options.steps)
        chosen = max(("fp32", "bf16"), key=lambda v: speed[v])
        listing = ", ".join(f"{v} {speed[v]:.1f}/s {memory[v]:.0f} MB" for v in VARIANTS)
        bench.claim(f"{name}: training", speed[chosen], "samples/CPU s", reference=f"{chosen}; {listing}")
        ratio = speed[chosen] / speed["plain"]
        bench.claim(f"{name}: speed-up over plain", ratio, "", at_least=2.0, reference="turn by turn in this run")
        bench.claim(f"{name}: peak memory of a step", memory[chosen], "MB", reference=listing)
    return bench.finish()


class Trainer:
    """One variant of one preset, ready to step: ``plain``, ``fp32`` or ``bf16``."""

    def __init__(self, name: str, variant: str, batch: int) -> None:
        config = PRESETS[name]
        assert isinstance(config, PointEncoderConfig)
        torch.manual_seed(0)
        loss = LossConfig(local_queries=2048)
        self.variant, self.batch = variant, batch
        self.model = Clar(ClarConfig(encoder=config, loss=loss, map_dim=MAP_DIM, patch_radius=0.1))
        if variant == "plain":
            make_plain(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3, fused=variant != "plain")
        rng = np.random.default_rng(0)
        self.clouds = rng.uniform(-1, 1, (batch, STORED, 3)).astype(np.float32)
        self.rest = made_up(rng, batch, config.centres)

    def step(self) -> None:
        """Sample the clouds, one optimiser step."""
        data = PretrainBatch(sampled(self.clouds, self.variant), *self.rest)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.variant == "bf16"):
            outputs = self.model(data.inputs)
        loss = pretrain_losses(self.model, outputs, data, watch=False).total
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def samples_per_second(name: str, batch: int, steps: int) -> dict[str, float]:
    """Samples per CPU second of every variant; they take turns, so that disturbances hit all alike."""
    torch.set_num_threads(1)
    keep_freed_memory()
    trainers = {variant: Trainer(name, variant, batch) for variant in VARIANTS}
    durations: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for i in range(steps + 1):
        for variant in VARIANTS if i % 2 else VARIANTS[::-1]:
            begun = time.process_time()
            trainers[variant].step()
            durations[variant].append(time.process_time() - begun)
    return {v: batch / float(np.percentile(times[1:], 25)) for v, times in durations.items()}


def peak_memory_mb(name: str, variant: str, batch: int) -> float:
    """Memory that two steps add to a fresh process."""
    torch.set_num_threads(1)
    if variant != "plain":
        keep_freed_memory()
    trainer = Trainer(name, variant, batch)
    # The peak that getrusage tells is inherited from the parent; this one can be reset.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_peak_mb()
    for _ in range(2):
        trainer.step()
    return resident_peak_mb() - before


def resident_peak_mb() -> float:
    """Highest resident memory of this process since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def sampled(clouds: np.ndarray, variant: str) -> torch.Tensor:
    """Stored clouds (B, STORED, 3) -> (B, SAMPLED, 3) in farthest-point order."""
    if variant == "plain":
        points = torch.from_numpy(clouds)
        rows = torch_farthest_point_sampling(points, SAMPLED)
        return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))
    return torch.from_numpy(np.stack([cloud[farthest_point_sampling(cloud, SAMPLED)] for cloud in clouds]))


def made_up(rng: np.random.Generator, batch: int, groups: int) -> list[torch.Tensor]:
    """The parts of a batch besides its points."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)), dim=-1)

    mask = np.zeros((batch, groups), dtype=bool)
    for row in mask:
        row[rng.permutation(groups)[: hidden_patches(groups, 0.6)]] = True
    return [
        torch.from_numpy(mask),
        torch.from_numpy(rng.random((batch, groups, 2), dtype=np.float32)),
        torch.from_numpy(rng.random((batch, groups)) < 0.85),
        torch.from_numpy(rng.random((batch, groups), dtype=np.float32)),
        normal(batch, 14, 14, MAP_DIM),
        normal(batch, groups, MAP_DIM),
        normal(batch, 512),
        normal(batch, 512),
        torch.arange(batch) % 8,
    ]


if __name__ == "__main__":
    sys.exit(main())
