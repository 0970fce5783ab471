"""A pre-training step against a plain implementation of the same network: samples per CPU second, and peak memory."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["clar_cpu", "clar_small"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    bench = Benchmark("pretrain", "Pre-training steps against a plain implementation of the same network, one thread")
    for name in options.presets:
        results = {}
        for variant in ("plain", "fp32", "bf16"):
            # A process each: peak memory is a process's, and so is the allocator's setting.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                results[variant] = pool.apply(measure, (name, variant, options.batch, options.steps))
        chosen = max(("fp32", "bf16"), key=lambda v: results[v][0])
        listing = ", ".join(f"{v} {speed:.1f}/s {memory:.0f} MB" for v, (speed, memory) in results.items())
        bench.claim(f"{name}: training", results[chosen][0], "samples/CPU s", reference=f"{chosen}; {listing}")
        ratio = results[chosen][0] / results["plain"][0]
        bench.claim(f"{name}: speed-up over plain", ratio, "", at_least=2.0, reference="in this run")
        bench.claim(f"{name}: peak memory of a step", results[chosen][1], "MB", reference=listing)
    return bench.finish()


def measure(name: str, variant: str, batch: int, steps: int) -> tuple[float, float]:
    """Samples per CPU second of one preset, and the memory that training added to the process, in MB."""
    torch.set_num_threads(1)
    config = PRESETS[name]
    assert isinstance(config, PointEncoderConfig)
    torch.manual_seed(0)
    model = Clar(ClarConfig(encoder=config, loss=LossConfig(local_queries=2048), map_dim=MAP_DIM, patch_radius=0.1))
    if variant == "plain":
        make_plain(model)
    else:
        keep_freed_memory()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    rng = np.random.default_rng(0)
    clouds = rng.uniform(-1, 1, (batch, STORED, 3)).astype(np.float32)
    rest = made_up(rng, batch, config.centres)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    durations = []
    for _ in range(steps + 1):
        begun = time.process_time()
        data = PretrainBatch(sampled(clouds, variant), *rest)
        with torch.autocast("cpu", torch.bfloat16, enabled=variant == "bf16"):
            outputs = model(data.inputs)
        loss = pretrain_losses(model, outputs, data).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        durations.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return batch / float(np.percentile(durations[1:], 25)), peak - before


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
