"""``clar train suite``: the five tasks from demonstrations to a table of results."""

from __future__ import annotations

import tyro

from clar_core.cli.main import fail


def main(arguments: list[str]) -> int:
    """Run every stage that is not done yet; 1 with the reason when one cannot."""
    from clar_core.training.loop import TrainingError
    from clar_core.training.suite import SuiteConfig, run_suite, table
    from clar_core.workers import WorkerDiedError

    config = tyro.cli(
        SuiteConfig,
        prog="clar train suite",
        description="Demonstrations, policies, controls and evaluations of all tasks. Interrupt it at any time.",
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )
    try:
        results = run_suite(config, lambda text: print(text, flush=True))
    except (ValueError, OSError, TrainingError, WorkerDiedError) as error:
        return fail(f"{error}\nThe same command goes on with what is missing.")
    print(table(results))
    print(f"written: {config.output}/results.json, {config.output}/results.md")
    return 0
