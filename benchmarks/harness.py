"""What every benchmark script shares: claims with bounds, a table, a JSON file, an exit code.

A script measures, states its claims and ends with ``sys.exit(bench.finish())``::

    bench = Benchmark("points", "Point operations against named references, measured in one run")
    bench.claim("FPS, 8192 -> 1024 points", 2.4, "ms", at_most=2.5, reference="fpsample 1.0.2: 2.5 ms in this run")
    sys.exit(bench.finish())

``outputs/benchmarks/<name>.json`` then holds ``{"machine": {...}, "claims": [{"claim", "value", "unit", "bound",
"holds", "reference"}]}``. ``bound`` is text such as ``">= 0.8"``, or null for a figure that is reported only.
Run every script of this folder with ``python -m benchmarks``, or some by name: ``python -m benchmarks latency dds``.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "outputs" / "benchmarks"


@dataclass(frozen=True)
class Claim:
    """One measured figure. ``reference`` says what it is compared with, or where the bound comes from."""

    claim: str
    value: float
    unit: str
    bound: str | None
    holds: bool
    reference: str


class Benchmark:
    """Collects the claims of one script; ``finish`` prints them, writes the JSON and gives the exit code."""

    def __init__(self, name: str, description: str, *, output: Path = OUTPUT) -> None:
        self.name = name
        self.description = description
        self.claims: list[Claim] = []
        self.extra: dict[str, object] = {}
        self._path = output / f"{name}.json"
        self._started = time.monotonic()
        self._load_before = os.getloadavg()[0]
        print(f"{name}: {description}", flush=True)

    def claim(
        self,
        claim: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        reference: str = "",
    ) -> bool:
        """State one figure, with at most one bound, and return whether it holds. A value that is not finite never does.

        Without a bound the figure is reported only. Raises ValueError when both bounds are given.
        """
        if at_least is not None and at_most is not None:
            raise ValueError(f"{claim}: give at_least or at_most, not both; state two claims instead")
        value = float(value)
        bound, holds = None, math.isfinite(value)
        if at_least is not None:
            bound, holds = f">= {at_least:g}", holds and value >= at_least
        elif at_most is not None:
            bound, holds = f"<= {at_most:g}", holds and value <= at_most
        self.claims.append(Claim(claim, value, unit, bound, holds, reference))
        return holds

    def finish(self) -> int:
        """Print the table, write the JSON file, and return 0 when every claim holds, else 1."""
        machine = describe_machine() | {
            "load_average_before": self._load_before,
            "wall_time_s": round(time.monotonic() - self._started, 1),
        }
        claims = [asdict(c) | {"value": c.value if math.isfinite(c.value) else None} for c in self.claims]
        document = {"machine": machine, "description": self.description, "claims": claims, **self.extra}
        write_json(self._path, document)
        print(format_table(self.claims))
        print(f"written: {_relative(self._path)}\n", flush=True)
        return 0 if self.claims and all(c.holds for c in self.claims) else 1


def format_table(claims: list[Claim]) -> str:
    """The claims as aligned text, one line each, the reference below it."""
    if not claims:
        return "  no claim was measured"
    width = max(len(c.claim) for c in claims)
    lines = []
    for c in claims:
        mark = "    " if c.bound is None else ("  ok" if c.holds else "FAIL")
        lines.append(f"{mark}  {c.claim:<{width}}  {c.value:>10.4g} {c.unit:<10} {c.bound or ''}".rstrip())
        if c.reference:
            lines.append(f"      {'':<{width}}  {c.reference}")
    return "\n".join(lines)


def describe_machine() -> dict[str, object]:
    """What the figures were measured on: processor, cores that this process may use, memory, versions."""
    import numpy

    description: dict[str, object] = {
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "git_revision": _git_revision(),
    }
    if "torch" in sys.modules:
        import torch

        description["torch"] = torch.__version__
        description["torch_threads"] = torch.get_num_threads()
        description["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return description


def write_json(path: Path, document: object) -> None:
    """Write JSON in one step: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=2) + "\n")
    os.replace(part, path)


def available() -> list[str]:
    """Names of the benchmark scripts of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("harness", "__main__"))


def run(names: list[str]) -> int:
    """Run scripts one after the other, each in a process of its own; 0 when all of them exit with 0.

    One at a time, because they measure wall time. Raises SystemExit for an unknown name, with the nearest ones.
    """
    known = available()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            raise SystemExit(
                f"no benchmark named {name!r}; {'nearest' if near else 'known'}: {', '.join(near or known)}"
            )
    failed = []
    for i, name in enumerate(names or known, start=1):
        print(f"[{i}/{len(names or known)}] {name}", flush=True)
        if subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], cwd=ROOT).returncode != 0:
            failed.append(name)
    if failed:
        print(f"FAILED: {', '.join(failed)} (figures in {_relative(OUTPUT)}/)")
        return 1
    print(f"all claims hold (figures in {_relative(OUTPUT)}/)")
    return 0


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git_revision() -> str:
    result = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
