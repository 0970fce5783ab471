"""``clar data views`` and ``clar data metaworld-views``: posed RGB-D views of scenes, the data of pre-training."""

from __future__ import annotations

import time

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Render with a progress bar; 1 with the reason when it cannot."""
    from tqdm import tqdm

    from clar_core.data.metaworld_views import MetaWorldViewsConfig, make_metaworld_views
    from clar_core.simulation.views import ViewsConfig, make_views
    from clar_core.workers import WorkerDiedError

    which, *arguments = arguments
    started = time.monotonic()
    try:
        config: ViewsConfig | MetaWorldViewsConfig
        if which == "metaworld":
            config = tyro.cli(
                MetaWorldViewsConfig,
                prog="clar data metaworld-views",
                description="Render views of MetaWorld's scenes.",
                args=arguments,
            )
        else:
            config = tyro.cli(
                ViewsConfig, prog="clar data views", description="Render views of randomised scenes.", args=arguments
            )
        with tqdm(total=config.scenes, unit="scene") as bar:

            def show(done: int) -> None:
                bar.update(done - bar.n)

            if isinstance(config, MetaWorldViewsConfig):
                views, output = make_metaworld_views(config, show), "outputs/pretraining_metaworld"
            else:
                views, output = make_views(config, show), "outputs/pretraining"
    except (ValueError, OSError, ImportError, WorkerDiedError) as error:
        return fail(str(error))
    print(f"{config.directory}: {views} views of {config.scenes} scenes, {time.monotonic() - started:.0f} s")
    print(f"next: clar pretrain small --views {config.directory} --output {output}")
    return 0
