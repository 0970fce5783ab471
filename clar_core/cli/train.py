"""``clar train``: train a policy from demonstrations."""

from __future__ import annotations

import sys

import tyro


def main(arguments: list[str]) -> int:
    """Run ``clar train``; returns the exit status."""
    from clar_core.training.config import ImitationConfig
    from clar_core.training.imitation import train_imitation
    from clar_core.training.loop import TrainingError

    try:
        config = tyro.cli(ImitationConfig, args=arguments, prog="clar train", description=__doc__)
        best = train_imitation(config)
    except (ValueError, TrainingError) as error:
        print(f"clar train: {error}", file=sys.stderr)
        return 1
    print(f"best checkpoint: {best}")
    print(f"how to evaluate and deploy it: {config.output}/README.md")
    return 0
