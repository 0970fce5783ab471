"""What a run's directory tells whoever opens it: what is in it, and how to evaluate and deploy it."""

from __future__ import annotations

from pathlib import Path

from clar_core.control.spaces import KEYFRAME
from clar_core.models.registry import image_pixels
from clar_core.observation.spec import ObservationSpec
from clar_core.training.checkpoints import Checkpoint

FILE = "README.md"


def write_instructions(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write ``README.md`` into a run's directory; returns its path."""
    path = directory / FILE
    path.write_text(instructions(directory, checkpoint), encoding="utf-8")
    return path


def instructions(directory: Path, checkpoint: Checkpoint) -> str:
    """The text of the file, in Markdown."""
    tasks = [str(task) for task in checkpoint.provenance.get("tasks", [])] or ["<task>"]
    language = checkpoint.instruction_features is not None
    sentence = f' instruction:="{checkpoint.instructions[0]}"' if language and checkpoint.instructions else ""
    lines = [
        f"# A policy for {', '.join(tasks)}",
        "",
        "`best/` has the lowest loss on held-out episodes, `last/` is the end of the run, `kept/` holds others. Each",
        "is a whole checkpoint: weights, normaliser, observation spec, provenance.",
        "",
    ]
    of_keyframes = checkpoint.action_space == KEYFRAME
    lines += _for_rlbench(directory, tasks) if of_keyframes else _for_the_cell(directory, checkpoint, tasks, sentence)
    if language:
        known = "any sentence" if checkpoint.text_encoder is not None else "these sentences only"
        lines += ["", "## Sentences", "", f"It understands {known}; it was trained with:", ""]
        lines += [f"- {text}" for text in checkpoint.instructions]
    return "\n".join(lines) + "\n"


def _for_rlbench(directory: Path, tasks: list[str]) -> list[str]:
    return [
        "## How good",
        "",
        "It names the next keyframe's pose, which a planner goes to: no node of the robot takes it.",
        "",
        "```bash",
        f"clar train controls {directory} --controls blind frozen_random",
        f"clar eval rlbench {directory} --demos RLBENCH_DEMONSTRATIONS    # against stored keyframes",
        f"clar eval rlbench {directory} --tasks {' '.join(tasks)}    # in the simulator",
        "```",
    ]


def _for_the_cell(directory: Path, checkpoint: Checkpoint, tasks: list[str], sentence: str) -> list[str]:
    lines = [
        "## Which one, and how good",
        "",
        "Choose on seeds of their own and try the chosen one on fresh ones, beside the controls:",
        "",
        "```bash",
        f"clar train controls {directory}",
        f"clar eval cell {directory}",
        "```",
        "",
    ]
    if pixels := image_pixels(checkpoint.config.encoder):
        return [
            *lines,
            "## Where it runs",
            "",
            f"It sees colour images of {pixels} pixels, from where the camera stood in training. The live stack gives",
            "policies clouds only and refuses it.",
        ]
    return [*lines, *_live(directory, tasks, checkpoint.spec, sentence)]


def _live(directory: Path, tasks: list[str], spec: ObservationSpec, sentence: str) -> list[str]:
    """How to run it on the live stack, simulated and real."""
    low, high = (", ".join(f"{v:g}" for v in box) for box in (spec.crop_min_m, spec.crop_max_m))
    return [
        "## In the live simulated cell",
        "",
        "```bash",
        *(f"clar demo {task} --checkpoint {directory}/best" for task in tasks),
        "```",
        "",
        "## On the robot",
        "",
        "```bash",
        f"ros2 launch clar policy.launch.py hardware:=real cell:=my_cell.yaml checkpoint:={directory}/best{sentence}",
        "clar arm && clar start policy    # clar stop ends it",
        "```",
        "",
        f"- Clouds are cropped to ({low}) .. ({high}) m in `{spec.base_frame}`; the cloud node takes this box from the",
        "  checkpoint, and another one is refused. Check that your table and objects lie in it.",
        "- The camera may stand elsewhere than in training as long as it is calibrated.",
        "- The motion box of `cell.yaml` limits the arm whatever the policy says; begin with a hand on the stop.",
    ]
