"""``clar attention``: where a pre-trained encoder looks, on the cloud and on the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw the class token's attention on clouds and the places that local alignment samples on their images."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Directory of `clar pretrain`."""
    views: Path = Path("outputs/data/views")
    """A set of views."""
    episodes: tuple[int, ...] = (0, 1, 2)
    """Which episodes of the set."""
    output: Path = Path("outputs/attention")
    """Where episode_N.png and attention.rrd go; `rerun attention.rrd` opens the latter."""
    seed: int = 0
    """Which view of an episode."""


def main(arguments: list[str]) -> int:
    """Draw; 1 with the reason when it cannot."""
    options = tyro.cli(Options, prog="clar attention", args=arguments)
    from clar_core.data.store_views import open_views
    from clar_core.training.pretrain_checkpoints import load_pretrained
    from clar_core.visualization.attention import attend, attention_figure, write_recording

    try:
        checkpoint = load_pretrained(options.checkpoint)
        views = open_views(options.views)
        if lines := checkpoint.spec.differences(views.spec):
            return fail(f"{options.checkpoint}: observed otherwise than {options.views}: {'; '.join(lines)}")
        attentions = {f"episode_{e}": attend(checkpoint.model, views, e, options.seed) for e in options.episodes}
    except (ValueError, IndexError) as error:
        return fail(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    for name, attention in attentions.items():
        attention_figure(attention).savefig(options.output / f"{name}.png", dpi=110)
    write_recording(options.output / "attention.rrd", attentions)
    print(f"written: {len(attentions)} pictures and attention.rrd in {options.output}")
    return 0
