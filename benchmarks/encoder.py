"""The point encoder against a plain implementation of the same network: one cloud, from cropped points to feature."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

# One thread for everybody: the policy shares the machine with the arm.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from harness import Benchmark
from torch import Tensor, nn

from clar_core.geometry.points_torch import farthest_point_sampling, group, knn
from clar_core.models.encoder import PointEncoder, PointEncoderConfig
from clar_core.models.patches import PatchEmbedding
from clar_core.models.registry import PRESETS
from clar_core.models.transformer import Attention
from clar_core.observation.builder import build_network_points
from clar_core.observation.spec import ObservationSpec

SPEC = ObservationSpec()


class PlainPatchEmbedding(nn.Module):
    """Point-MAE's tokenizer as published: convolutions of one point, the patch's maximum repeated for every point."""

    def __init__(self, source: PatchEmbedding) -> None:
        super().__init__()
        self.first, self.second = (nn.Sequential(*map(_as_conv, s)) for s in (source.first_conv, source.second_conv))

    def forward(self, patches: Tensor) -> Tensor:
        """Tokens (B, G, dim) of patches (B, G, K, 3)."""
        batch, groups, size, _ = patches.shape
        local = self.first(patches.reshape(batch * groups, size, 3).transpose(1, 2))
        whole = local.max(dim=2, keepdim=True).values.expand(-1, -1, size)
        return self.second(torch.cat([whole, local], dim=1)).max(dim=2).values.view(batch, groups, -1)


class PlainAttention(nn.Module):
    """Attention written out: softmax(q k / sqrt(d)) v."""

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = source.heads, source.qkv, source.proj

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        weights = (query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))


def make_plain(module: nn.Module) -> nn.Module:
    """Replace tokenizer and attention, in place, by the plain ones with the same weights."""
    for name, child in list(module.named_children()):
        if isinstance(child, PatchEmbedding):
            setattr(module, name, PlainPatchEmbedding(child))
        elif isinstance(child, Attention):
            setattr(module, name, PlainAttention(child))
        else:
            make_plain(child)
    if isinstance(module, PointEncoder):
        config = module.config

        def plain_group(points: Tensor, *, fps_ordered: bool) -> tuple[Tensor, Tensor]:
            rows = farthest_point_sampling(points, config.centres)
            centres = points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))
            return centres, group(points, centres, knn(centres, points, config.neighbours))

        module.group = plain_group  # type: ignore[method-assign]
    return module


def _as_conv(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, nn.Linear):
        return layer
    conv = nn.Conv1d(layer.in_features, layer.out_features, 1)
    with torch.no_grad():
        conv.weight.copy_(layer.weight[..., None])
        conv.bias.copy_(layer.bias)  # type: ignore[union-attr]
    return conv


def milliseconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Lower quartile of the processor time of each call; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for i in range(rounds):
        for name in list(calls) if i % 2 else list(calls)[::-1]:
            begun = time.process_time()
            calls[name]()
            times[name].append((time.process_time() - begun) * 1e3)
    return {name: float(np.percentile(values, 25)) for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["clar_cpu", "clar_small", "clar"])
    parser.add_argument("--points", type=int, default=8192, help="of the cropped cloud")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Benchmark("encoder", "Point encoder against a plain implementation of the same network, one thread")
    low, high = np.array(SPEC.crop_min_m), np.array(SPEC.crop_max_m)
    cloud = np.random.default_rng(0).uniform(low, high, (options.points, 3)).astype(np.float32)
    for name in options.presets:
        compare(bench, name, cloud, options.rounds)
    return bench.finish()


@torch.inference_mode()
def compare(bench: Benchmark, name: str, cloud: np.ndarray, rounds: int) -> None:
    """Claim that ours takes at most half of the plain one's time, and that both compute the same."""
    config = PRESETS[name]
    assert isinstance(config, PointEncoderConfig)
    torch.manual_seed(0)
    ours = PointEncoder(config).eval()
    plain = PointEncoder(config).eval()
    plain.load_state_dict(ours.state_dict())
    make_plain(plain).eval()
    sampled = torch.from_numpy(build_network_points(cloud, SPEC))[None]
    difference = (ours(sampled).pooled - plain(sampled).pooled).abs().max()
    bench.claim(f"{name}: largest difference of the feature", float(difference), "", at_most=1e-3, reference="fp32")

    def run_ours(dtype: torch.dtype) -> Tensor:
        points = torch.from_numpy(build_network_points(cloud, SPEC))[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return ours(points).pooled

    def run_plain() -> Tensor:
        points = torch.from_numpy(SPEC.normalise(cloud))[None]
        rows = farthest_point_sampling(points, SPEC.network_points)
        return plain(points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))).pooled

    calls: dict[str, Callable[[], object]] = {
        "plain": run_plain,
        "fp32": lambda: run_ours(torch.float32),
        "bf16": lambda: run_ours(torch.bfloat16),
        "plain network alone": lambda: plain(sampled),
        "network alone": lambda: ours(sampled),
    }
    times = milliseconds(calls, rounds)
    chosen = min(("fp32", "bf16"), key=lambda key: times[key])
    reference = ", ".join(f"{key} {value:.1f} ms" for key, value in times.items())
    bench.claim(f"{name}: cloud to feature, batch 1", times[chosen], "ms", reference=f"{chosen}; {reference}")
    bench.claim(
        f"{name}: speed-up over plain", times["plain"] / times[chosen], "", at_least=2.0, reference="in this run"
    )
    bench.claim(
        f"{name}: speed-up of the fp32 network alone",
        times["plain network alone"] / times["network alone"],
        "",
        reference="same sampled points, centres known against sampled again",
    )


if __name__ == "__main__":
    sys.exit(main())
