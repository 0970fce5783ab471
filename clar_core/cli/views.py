"""``clar data views``: posed RGB-D views of randomised scenes, the data of pre-training."""

from __future__ import annotations

import time

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Render with a progress bar; 1 with the reason when it cannot."""
    from clar_core.simulation.views import ViewsConfig, make_views
    from clar_core.workers import WorkerDiedError

    started = time.monotonic()
    try:
        config = tyro.cli(
            ViewsConfig, prog="clar data views", description="Render views of randomised scenes.", args=arguments
        )
        from tqdm import tqdm

        with tqdm(total=config.scenes, unit="scene") as bar:
            views = make_views(config, lambda done: bar.update(done - bar.n))
    except (ValueError, OSError, WorkerDiedError) as error:
        return fail(str(error))
    print(f"{config.directory}: {views} views of {config.scenes} scenes, {time.monotonic() - started:.0f} s")
    print(f"next: clar pretrain small --views {config.directory} --output outputs/pretraining")
    return 0
