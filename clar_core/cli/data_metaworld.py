"""``clar data metaworld``: demonstrations of MetaWorld's scripted policies."""

from __future__ import annotations

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Collect with a progress bar; 1 with the reason when it cannot."""
    from tqdm import tqdm

    from clar_core.data.metaworld import MetaWorldConfig, collect

    config = tyro.cli(MetaWorldConfig, prog="clar data metaworld", args=arguments)
    kept = 0
    try:
        with tqdm(total=config.episodes, unit="episode") as bar:
            for _ in collect(config):
                kept += 1
                bar.update()
    except (ValueError, OSError, ImportError) as error:
        return fail(str(error))
    print(f"{config.directory}: {kept} episodes added")
    return 0
