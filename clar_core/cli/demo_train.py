"""``clar demo-train``: make the shipped checkpoint again, from nothing but the simulated cell."""

from __future__ import annotations

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Run the recipe, going on where an earlier run stopped; 1 with the reason when it cannot."""
    from clar_core.training.loop import TrainingError
    from clar_core.training.recipe import Recipe, cook
    from clar_core.workers import WorkerDiedError

    recipe = tyro.cli(
        Recipe,
        prog="clar demo-train",
        description="Collect demonstrations, train, and improve by DAgger. Interrupt it at any time; it goes on.",
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )
    try:
        checkpoint = cook(recipe, lambda text: print(text, flush=True))
    except (ValueError, OSError, TrainingError, WorkerDiedError) as error:
        return fail(str(error))
    print(f"next: clar eval cell {checkpoint}, or clar demo --checkpoint {checkpoint}")
    return 0
