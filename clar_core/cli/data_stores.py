"""``clar data merge`` and ``clar data export``: stores into one, or into the layouts of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from clar_core.cli.data_options import mapping
from clar_core.cli.main import fail


@dataclass(frozen=True)
class Merge:
    """Stores into one, episode by episode. Interrupted, the same command goes on."""

    stores: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Stores to merge, in this order."""
    output: Path
    """Store to create, or to append to."""
    successes_only: bool = False
    """Leave out episodes that failed."""


@dataclass(frozen=True)
class Export:
    """A store in another layout: dp3 (zarr v2, as diffusion policy reads it) or lerobot (v3)."""

    store: Annotated[Path, tyro.conf.Positional]
    """Store to export."""
    output: Path
    """Directory to make."""
    layout: Literal["dp3", "lerobot"] = "dp3"
    """dp3 has the clouds; lerobot has states, actions and, with --bags, colour video."""
    bags: Path | None = None
    """lerobot: folder of the bags that the store came from, for the video."""
    mapping: Path | None = None
    """YAML file with topic names, for bags of other recorders."""


def main(arguments: list[str]) -> int:
    """Run ``merge`` or ``export``, the first argument; 1 with the reason when it cannot."""
    return _merge(arguments[1:]) if arguments[0] == "merge" else _export(arguments[1:])


def _merge(arguments: list[str]) -> int:
    options = tyro.cli(Merge, prog="clar data merge", args=arguments)
    from tqdm import tqdm

    from clar_core.data.merge import merge

    try:
        with tqdm(unit="episode") as bar:

            def progress(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            added, there = merge(
                options.stores, options.output, successes_only=options.successes_only, progress=progress
            )
    except (ValueError, OSError) as error:
        return fail(str(error))
    print(f"{options.output}: {added} episodes added, {there} were there")
    return 0


def _export(arguments: list[str]) -> int:
    options = tyro.cli(Export, prog="clar data export", args=arguments)
    from tqdm import tqdm

    from clar_core.data.export import export_dp3
    from clar_core.data.store import Store

    try:
        store = Store(options.store)
        with tqdm(total=len(store.episodes), unit="episode") as bar:

            def progress(done: int, of: int) -> None:
                bar.update(done - bar.n)

            if options.layout == "dp3":
                export_dp3(store, options.output, progress)
            else:
                from clar_core.data.export_lerobot import export_lerobot

                names = mapping(options.mapping)
                export_lerobot(store, options.output, bags=options.bags, mapping=names, progress=progress)
    except (ValueError, OSError) as error:
        return fail(str(error))
    print(f"written: {options.output} ({len(store.episodes)} episodes, {store.steps} steps)")
    return 0
