"""Every encoder on one observation: latency and parameters of ours and of what it is compared with, in one run.

Weights are random: they change neither.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

# One thread for everybody: the policy shares the machine with the arm.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from encoder import milliseconds
from harness import Benchmark
from torch import Tensor, nn

from clar_core.geometry.points_torch import farthest_point_sampling
from clar_core.models.registry import (
    BASELINES,
    build_encoder,
    build_policy,
    encoder_preset,
    image_pixels,
    policy_preset,
)

OURS = ("clar", "clar_small", "clar_cpu")
VARIANTS = ("vc1_large", "spa_base")
DIFFUSION = "dp3_diffusion"


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--image-rounds", type=int, default=3, help="of the encoders of images, which take seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Benchmark("encoders", "Encoders on one observation, fp32, one thread: 1024 points, or 224 x 224 pixels")
    points = torch.rand(1, 1024, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points.gather(1, farthest_point_sampling(points, 1024).unsqueeze(-1).expand(-1, -1, 3))
    names = (*OURS, *BASELINES, *VARIANTS)
    of_images = [name for name in names if image_pixels(encoder_preset(name))]
    measure(bench, [name for name in names if name not in of_images], points, "points", options.rounds)
    image = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name in of_images:  # one at a time: VGGT alone takes 3.6 GB
        measure(bench, [name], image, "image", options.image_rounds)
    measure_plan(bench, points, options.rounds)
    return bench.finish()


def measure(bench: Benchmark, names: list[str], seen: Tensor, what: str, rounds: int) -> None:
    """Claim the latency of encoders on one observation; they take turns."""
    encoders: dict[str, nn.Module] = {}
    for name in names:
        torch.manual_seed(0)
        built = build_encoder(encoder_preset(name))
        assert built is not None
        encoders[name] = built.eval()
    calls: dict[str, Callable[[], object]] = {
        name: (lambda e=encoder: e(seen).pooled) for name, encoder in encoders.items()
    }
    for name, time_ms in milliseconds(calls, rounds).items():
        claim(bench, name, f"{what} to feature", time_ms, encoders[name])


def measure_plan(bench: Benchmark, points: Tensor, rounds: int) -> None:
    """Claim what a whole plan of the diffusion head takes: two observations to four actions."""
    torch.manual_seed(0)
    policy = build_policy(policy_preset(DIFFUSION)).eval()
    history = policy.config.history
    seen, state = points.expand(history, -1, -1)[None], torch.zeros(1, history, 10)
    time_ms = milliseconds({DIFFUSION: lambda: policy(seen, state)}, rounds)[DIFFUSION]
    claim(bench, DIFFUSION, "observations to a plan", time_ms, policy)


def claim(bench: Benchmark, name: str, what: str, time_ms: float, module: nn.Module) -> None:
    """Report a latency with the parameters behind it, as a claim and as a row."""
    millions = sum(p.numel() for p in module.parameters()) / 1e6
    bench.claim(f"{name}: {what}", time_ms, "ms", reference=f"{millions:.2f} M parameters")
    row = {"encoder": name, "what": what, "parameters_m": round(millions, 3), "ms": round(time_ms, 3)}
    bench.extra.setdefault("encoders", []).append(row)


if __name__ == "__main__":
    sys.exit(main())
