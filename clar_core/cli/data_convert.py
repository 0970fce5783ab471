"""``clar data convert``: bags to a store that ``clar train`` reads."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.data_options import OBSERVATION_HELP, calibration, mapping, observation
from clar_core.cli.main import fail


@dataclass(frozen=True)
class ConvertBags:
    """Convert bags into a store. Interrupted, the same command goes on; a bad bag is named and left out."""

    bags: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Bags (rosbag2 folders, .mcap or .db3 files), or folders of them."""
    output: Path
    """Store to create, or to append to."""
    observation: Annotated[str, tyro.conf.arg(help=OBSERVATION_HELP)] = "default"
    mapping: Path | None = None
    """YAML file with topic names, for bags of other recorders."""
    points: int = 2048
    """Points kept of each cloud."""
    image_size: int = 0
    """Keep the colour images, resized to a square of so many pixels (224 for pre-training); 0 keeps none."""
    successes_only: bool = False
    """Leave out episodes that failed; kept, they are marked and not trained on."""
    trim: bool = True
    """Leave out the standing still at head and tail."""
    calibration: Path | None = None
    """Calibration file that the bags' transforms must equal."""
    workers: int | None = None
    """Processes; all cores when left out."""
    scheduler: str = ""
    """Address of a Dask cluster that does the work instead."""


def main(arguments: list[str]) -> int:
    """Convert with a progress bar; 1 when a bag could not be converted, after all others were."""
    options = tyro.cli(ConvertBags, prog="clar data convert", args=arguments)
    from tqdm import tqdm

    from clar_core.data.convert import ConvertConfig, Converted, convert, find_bags
    from clar_core.workers import WorkerDiedError

    started = time.monotonic()
    try:
        config = ConvertConfig(
            bags=options.bags,
            directory=options.output,
            spec=observation(options.observation),
            mapping=mapping(options.mapping),
            points_per_cloud=options.points,
            image_size=options.image_size,
            failures=not options.successes_only,
            trim=options.trim,
            calibration=calibration(options.calibration),
            workers=options.workers,
            scheduler=options.scheduler,
        )
        with tqdm(total=len(find_bags(config.bags)), unit="bag") as bar:

            def progress(result: Converted) -> None:
                bar.update()
                if result.error:
                    bar.write(f"not converted: {result.error}", file=sys.stderr)

            results = convert(config, progress)
    except (ValueError, OSError, WorkerDiedError) as error:
        return fail(str(error))
    for result in results:
        if not result.error and not result.already:
            left = "; ".join(f"{count} x {reason}" for reason, count in sorted(result.skipped.items()))
            print(
                f"{result.bag.name}: {result.episodes} episodes, {result.steps} steps" + (f" ({left})" if left else "")
            )
        for text in result.warnings:
            print(f"look at this: {text}", file=sys.stderr)
    failed = [result for result in results if result.error]
    already = sum(result.already for result in results)
    print(
        f"{options.output}: {sum(r.episodes for r in results)} episodes, {sum(r.steps for r in results)} steps added, "
        f"{already} bags were there, {len(failed)} bags not converted, {time.monotonic() - started:.0f} s"
    )
    print(f"next: clar train --stores {options.output} --output outputs/training/mine")
    return 1 if failed else 0
