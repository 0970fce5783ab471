"""``clar data import``: demonstrations of other data sets into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from clar_core.cli.data_options import OBSERVATION_HELP, observation
from clar_core.cli.main import fail
from clar_core.data.episode import Episode
from clar_core.observation.spec import ObservationSpec


@dataclass(frozen=True)
class Import:
    """Read RH20T scenes (RH20T_cfgN) or an RLBench task's demonstrations into a store."""

    layout: Annotated[Literal["rh20t", "rlbench"], tyro.conf.Positional]
    """Which data set."""
    folder: Annotated[Path, tyro.conf.Positional]
    """RH20T: folder of scenes and calib; RLBench: folder of one task."""
    output: Path
    """Store to create, or to append to."""
    observation: Annotated[str | None, tyro.conf.arg(help=f"{OBSERVATION_HELP}; the layout's own when left out")] = None
    points: int = 2048
    """Points kept of each cloud."""
    camera: str = "front"
    """RLBench: which camera."""
    action: Literal["step", "keyframe"] = "step"
    """RLBench: what a policy answers with, a step of 10 Hz or the next keyframe's pose (for `clar eval rlbench`)."""
    between: int = 0
    """RLBench, keyframes: label every so many observations on the way, too, for policies that can tell these apart."""
    serials: tuple[str, ...] = ()
    """RH20T: only these cameras; all fixed ones when left out."""
    descriptions: Path | None = None
    """RH20T: task_description.json, for the sentences."""


def main(arguments: list[str]) -> int:
    """Import with a progress bar; 1 when nothing could be read."""
    options = tyro.cli(Import, prog="clar data import", args=arguments)
    from tqdm import tqdm

    from clar_core.control.spaces import KEYFRAME, TCP_DELTA
    from clar_core.data.rlbench_demo import check_task_folder
    from clar_core.data.store import Store, StoreWriter

    skipped: Counter[str] = Counter()
    added = 0
    try:
        spec = observation(options.observation or ("rlbench" if options.layout == "rlbench" else "default"))
        if options.between < 0:
            return fail(f"--between: expected 0 or more, got {options.between}")
        if not options.folder.is_dir():
            return fail(f"{options.folder}: no such folder")
        if options.layout == "rlbench":
            check_task_folder(options.folder)
        space = KEYFRAME if options.layout == "rlbench" and options.action == "keyframe" else TCP_DELTA
        writer = StoreWriter(options.output, spec, points_per_cloud=options.points, space=space)
        there = {(e.task, str(e.info.get("bag"))) for e in Store(options.output).episodes}
        for episode in tqdm(_episodes(options, spec, skipped), unit="episode"):
            if (episode.task, episode.info["bag"]) not in there:
                writer.append(episode)
                added += 1
    except (ValueError, OSError) as error:
        return fail(str(error))
    for reason, count in skipped.most_common():
        print(f"left out: {count} x {reason}")
    print(f"{options.output}: {added} episodes added, {writer.steps} steps in all")
    return 0 if writer.episodes else 1


def _episodes(options: Import, spec: ObservationSpec, skipped: Counter[str]) -> Iterator[Episode]:
    if options.layout == "rh20t":
        from clar_core.data import rh20t

        return rh20t.read_episodes(
            options.folder, spec, serials=options.serials, descriptions=options.descriptions, skipped=skipped
        )
    from clar_core.data import rlbench
    from clar_core.data.rlbench_scene import T_BASE_WORLD

    return rlbench.read_episodes(
        options.folder,
        spec,
        camera=options.camera,
        T_base_world=T_BASE_WORLD,
        of_keyframes=options.action == "keyframe",
        between=options.between,
        skipped=skipped,
    )
