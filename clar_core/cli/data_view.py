"""``clar data view``: an episode as a Rerun recording."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.data_options import OBSERVATION_HELP, mapping, observation
from clar_core.cli.main import fail


@dataclass(frozen=True)
class View:
    """Write a Rerun recording of a bag: images, cloud in the base frame, frames, state and action curves."""

    bag: Annotated[Path, tyro.conf.Positional]
    """A bag."""
    output: Path | None = None
    """File to write; outputs/view/BAG.rrd when left out."""
    observation: Annotated[str, tyro.conf.arg(help=OBSERVATION_HELP)] = "default"
    mapping: Path | None = None
    """YAML file with topic names, for bags of other recorders."""
    every: int = 2
    """Take one of so many depth images and clouds."""
    open: bool = False
    """Open it in the Rerun viewer of this machine."""


def main(arguments: list[str]) -> int:
    """Write the recording with a progress bar; 1 with the reason when it cannot."""
    options = tyro.cli(View, prog="clar data view", args=arguments)
    from tqdm import tqdm

    output = options.output or Path("outputs/view") / f"{options.bag.stem}.rrd"
    try:
        from clar_core.visualization.episode_recording import write_recording

        with tqdm(unit="image") as bar:
            counts = write_recording(
                options.bag,
                output,
                observation(options.observation),
                mapping(options.mapping),
                every=max(options.every, 1),
                progress=bar.update,
            )
    except ImportError as error:
        return fail(f"the viewer's library is missing ({error}): pip install -r requirements/viz.txt")
    except (ValueError, OSError) as error:
        return fail(str(error))
    print(
        f"written: {output} ({output.stat().st_size / 1e6:.1f} MB): {counts.depth_images} depth and "
        f"{counts.color_images} colour images, {counts.clouds} clouds, {counts.states} states, {counts.labels} actions"
    )
    if options.open:
        return subprocess.call([str(Path(sys.executable).with_name("rerun")), str(output)])
    print(f"next: rerun {output}")
    return 0
