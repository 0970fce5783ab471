"""``clar data recover``: finish recordings that a crash, a full disk or a power cut left behind."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True)
class RecoverConfig:
    """What to recover.

    Attributes:
        bags: bags, or folders of them, in which every ``*.recording`` is finished.
    """

    bags: Annotated[tuple[Path, ...], tyro.conf.Positional]


def main(arguments: list[str]) -> int:
    """Finish every bag given; 1 when one of them cannot be, after all were tried."""
    from clar_core.data.bag_recovery import recover_bag
    from clar_core.data.bags import RECORDING_SUFFIX, BagError

    config = tyro.cli(
        RecoverConfig,
        prog="clar data recover",
        description="Finish recordings that were cut off, in place, and say what was lost.",
        args=arguments,
    )
    bags: list[Path] = []
    for path in config.bags:
        inside = sorted(path.glob(f"*{RECORDING_SUFFIX}"))
        if path.is_dir() and not inside and any(path.glob("*/metadata.yaml")):
            print(f"{path}: nothing to recover: all bags in it are whole")
            continue
        bags.extend(inside if inside and not any(path.glob("*.mcap")) else [path])
    failures = 0
    for bag in bags:
        try:
            recovered = recover_bag(bag)
        except (BagError, OSError) as error:
            fail(str(error))
            failures += 1
            continue
        counts = ", ".join(f"{topic} {count}" for topic, count in sorted(recovered.messages.items()))
        print(f"{recovered.path}: {recovered.duration_s:.1f} s kept, {recovered.lost_bytes} bytes lost ({counts})")
    if not failures:
        return 0
    print(f"{failures} of {len(bags)} could not be recovered", file=sys.stderr)
    return 1
