"""Every encoder on one cloud: latency and parameters of ours and of what it is compared with, in one run."""

from __future__ import annotations

import argparse
import os
import sys

# One thread for everybody: the policy shares the machine with the arm.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from encoder import milliseconds
from harness import Benchmark

from clar_core.geometry.points_torch import farthest_point_sampling
from clar_core.models.registry import BASELINES, build_encoder, encoder_preset

OURS = ("clar", "clar_small", "clar_cpu")


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Benchmark("encoders", "Encoders on one cloud of 1024 points in farthest-point order, fp32, one thread")
    points = torch.rand(1, 1024, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points.gather(1, farthest_point_sampling(points, 1024).unsqueeze(-1).expand(-1, -1, 3))
    encoders = {}
    for name in (*OURS, *BASELINES):
        torch.manual_seed(0)
        built = build_encoder(encoder_preset(name))
        assert built is not None
        encoders[name] = built.eval()
    calls = {name: (lambda e=encoder: e(points).pooled) for name, encoder in encoders.items()}
    times = milliseconds(calls, options.rounds)
    rows = []
    for name, encoder in encoders.items():
        millions = sum(p.numel() for p in encoder.parameters()) / 1e6
        rows.append({"encoder": name, "parameters_m": round(millions, 3), "ms": round(times[name], 3)})
        bench.claim(f"{name}: points to feature", times[name], "ms", reference=f"{millions:.2f} M parameters")
    bench.extra["encoders"] = rows
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
