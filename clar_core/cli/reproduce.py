"""``clar reproduce``: a table of the paper, as far as it can run here; and the page that shows what was run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from clar_core.cli.main import fail

_RESULTS = Path("docs/results/tables")
_PAGE = Path("docs/results/paper_tables.md")


@dataclass(frozen=True)
class Reproduce:
    """Run a table of the paper: demonstrations, policies, rollouts. Interrupt it at any time; the same command goes on.

    `clar reproduce page` writes the page of results from docs/results/tables instead.
    """

    table: Annotated[str, tyro.conf.Positional]
    """table1 to table5, fig4 or fig6; "basics", four tasks sized for two CPU cores; or "page"."""
    budget: float = 1.0
    """Part of the paper's training samples."""
    trials: int = 25
    """Fresh starts for each figure."""
    rows: tuple[str, ...] = ()
    """Encoders to run, such as pointnet; all that can when left out."""
    weights: tuple[str, ...] = ()
    """For the rows that lack them, published weights, such as clip=FILE, and checkpoints of clar pretrain, such as
    clar_cpu_pretrained=DIR; nothing is downloaded."""
    tasks: tuple[str, ...] = ()
    """Tasks of the table; all when left out."""
    output: Path = Path("outputs/reproduce")
    """Where demonstrations, runs, evaluations and results go."""
    seeds: tuple[int, ...] = (0,)
    """Of the training; each gives a policy and a figure of its own."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of the training's matrix products; auto takes what is faster here."""
    threads: int = 0
    """Of the training; 0 leaves PyTorch's choice."""
    workers: int | None = None
    """Processes of the rollouts; the available cores when left out."""
    plan: bool = False
    """Say what it would cost and what it lacks, and run nothing."""


def _files(given: tuple[str, ...]) -> dict[str, Path]:
    """Paths by choice. Raises ValueError for one that is not ENCODER=FILE, or holds no weights."""
    from clar_core.training.pretrain_checkpoints import is_pretrained

    files: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(
                f"--weights: expected ENCODER=FILE, such as clip=open_clip_model.safetensors, got {text!r}"
            )
        files[name] = Path(path)
        if not files[name].exists():
            raise ValueError(f"--weights: there is no file and no checkpoint {path} for {name}")
        if files[name].is_dir() and not is_pretrained(path):
            raise ValueError(
                f"--weights: {path} for {name} holds no checkpoint of `clar pretrain`; expected its best/ or last/, or "
                "a file of published weights"
            )
    return files


def main(arguments: list[str]) -> int:
    """Say what is missing and what it costs, then run; 1 with the reason when it cannot."""
    options = tyro.cli(Reproduce, prog="clar reproduce", args=arguments)
    from clar_core.reproduction.page import write_page
    from clar_core.reproduction.run import ReproduceConfig, hours, jobs_of, missing_of, reproduce, training_rate
    from clar_core.reproduction.tables import TABLES
    from clar_core.training.loop import TrainingError
    from clar_core.workers import WorkerDiedError

    try:
        if options.table == "page":
            print(f"written: {write_page(_RESULTS, _PAGE)}")
            return 0
        config = ReproduceConfig(
            table=options.table,
            budget=options.budget,
            trials=options.trials,
            rows=options.rows,
            weights=_files(options.weights),
            tasks=options.tasks,
            output=options.output,
            seeds=options.seeds,
            precision=options.precision,
            threads=options.threads,
            workers=options.workers,
        )
        table = TABLES[config.table]
        print(table.title)
        for line in missing_of(table, config.weights):
            print(f"  not run: {line}")
        if not jobs_of(config):
            print(f"nothing of it runs by this command; what there is instead:\n{table.instead}")
            return 0
        everything = jobs_of(ReproduceConfig(table=config.table, weights=config.weights))
        rates = {e: training_rate(e, config.threads) for e in sorted({job.row.encoder for job in everything})}
        print(
            f"on this machine, if it does nothing else: about {hours(config, rates, full=True):.1f} h in full, as the "
            f"paper ran it; about {hours(config, rates, full=False):.2f} h with these options, less what is done",
            flush=True,
        )
        if options.plan:
            return 0
        path = reproduce(config, shlex.join(["clar", "reproduce", *arguments]), lambda text: print(text, flush=True))
    except (ValueError, OSError, ImportError, TrainingError, WorkerDiedError) as error:
        return fail(f"{error}\nThe same command goes on with what is missing.")
    print(f"written: {path}; to show it: copy it to {_RESULTS} and run clar reproduce page")
    return 0
