"""``clar data collect``: demonstrations of a task's scripted expert in the simulated cell."""

from __future__ import annotations

import time

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Collect with a progress bar; 1 with the reason when it cannot."""
    from clar_core.simulation.collect import CollectConfig, collect
    from clar_core.workers import WorkerDiedError

    config = tyro.cli(
        CollectConfig,
        prog="clar data collect",
        description="Record expert demonstrations.",
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )
    from tqdm import tqdm

    started = time.monotonic()
    try:
        with tqdm(total=config.episodes, unit="episode") as bar:
            result = collect(config, lambda kept, _: bar.update(kept - bar.n))
    except (ValueError, OSError, WorkerDiedError) as error:
        return fail(str(error))
    print(
        f"{config.store}: {result.kept} episodes kept, {result.successes} of {result.attempts} attempts succeeded, "
        f"{result.steps} steps in all, {time.monotonic() - started:.0f} s"
    )
    print(f"next: clar train --stores {config.store} --output outputs/training/{config.task}")
    return 0
