"""``clar teleop DEVICE``: the operator's node in this terminal, beside a running stack."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from clar_core.teleop.keys import HELP


@dataclass(frozen=True)
class Teleop:
    """Command the arm of the running stack from this terminal, and record episodes."""

    device: Annotated[Literal["keyboard", "spacemouse", "joy", "twist"], tyro.conf.Positional] = "keyboard"
    """What the operator holds."""
    task: str = "place_cube_in_basin"
    """Task of the episodes."""
    instruction: str = ""
    """Sentence stored with the episodes; the task's own when left out."""
    operator: str = ""
    """Who gives the demonstrations."""
    hardware: Literal["real", "sim"] = "real"
    """What the stack drives; in the simulated cell the objects are put out by seed."""
    first_seed: int = 0
    """Simulated cell: seed of the first episode."""
    frame: Literal["base", "tool"] = "base"
    """Frame in which deflections count."""
    speed: float = 0.15
    """Metres per second at full deflection."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until Ctrl-C; returns its exit status."""
    options = tyro.cli(Teleop, prog="clar teleop", args=arguments)
    from clar.nodes.teleop import TeleopNode
    from clar.process import run_node

    if options.device == "keyboard":
        print(HELP)
    parameters = {
        "device": options.device,
        "task": options.task,
        "instruction": options.instruction,
        "operator_name": options.operator,
        "hardware": options.hardware,
        "first_seed": options.first_seed,
        "frame": options.frame,
        "linear_m_s": options.speed,
    }
    ros = [item for name, value in parameters.items() for item in ("-p", f"{name}:={_yaml(value)}")]
    return run_node(TeleopNode, arguments=["--ros-args", *ros], threads=4, shared_memory=False)


def _yaml(value: object) -> str:
    """A parameter as rcl parses it: texts in quotes, so that a number in a text stays text."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    sys.exit(main())
