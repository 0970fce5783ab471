"""``clar pretrain``: pre-train a point encoder on posed RGB-D views."""

from __future__ import annotations

import os

import tyro

from clar_core.cli.main import fail

_DESCRIPTION = (
    "Pre-train a point encoder (CLAR). `clar pretrain PRESET --help` lists every setting. Several processes: "
    "torchrun --nproc-per-node N -m clar_core.cli.main pretrain PRESET ..."
)


def main(arguments: list[str]) -> int:
    """Run ``clar pretrain``; returns the exit status."""
    from clar_core.training.loop import TrainingError
    from clar_core.training.pretrain import pretrain
    from clar_core.training.pretrain_config import PRETRAIN_PRESETS

    try:
        config = tyro.extras.overridable_config_cli(
            PRETRAIN_PRESETS,
            prog="clar pretrain",
            description=_DESCRIPTION,
            args=arguments,
            config=(tyro.conf.AvoidSubcommands,),
        )
        best = pretrain(config)
    except (ValueError, TrainingError) as error:
        return fail(str(error))
    if os.environ.get("RANK", "0") == "0":  # of several processes (torchrun) one speaks
        print(f"best checkpoint: {best}")
        print(f"next: clar train --stores … --output … --init-from {best} --encoder-training finetune")
    return 0
