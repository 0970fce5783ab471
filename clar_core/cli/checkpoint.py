"""``clar checkpoint``: what a policy's checkpoint is and where it comes from; and a copy to hand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from clar_core.cli.main import fail

if TYPE_CHECKING:
    from clar_core.training.checkpoints import Checkpoint


@dataclass(frozen=True)
class Options:
    """Check a policy's checkpoint, say what it is, and copy it if asked."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Its directory."""
    copy_to: Path | None = None
    """Directory of a copy; one that is there is replaced if it is a checkpoint itself."""
    half: bool = False
    """Store the copy's weights in float16: half the size, three significant digits."""


def main(arguments: list[str]) -> int:
    """Describe, copy; 1 with the reason when the checkpoint is not whole."""
    from clar_core.training.checkpoint_files import copy_checkpoint
    from clar_core.training.checkpoints import load_checkpoint, save_checkpoint

    options = tyro.cli(Options, prog="clar checkpoint", args=arguments)
    target = options.copy_to
    if options.half and target is None:
        return fail("--half: says how a copy is stored; give --copy-to, too")
    try:
        checkpoint = load_checkpoint(options.checkpoint)
        print(_described(checkpoint))
        if target is None:
            return 0
        if target.exists() and not (target / "provenance.json").is_file():
            return fail(f"--copy-to {target}: expected a new directory, or a checkpoint to replace; this is neither")
        if options.half:
            save_checkpoint(target, checkpoint, half=True)
        else:
            copy_checkpoint(options.checkpoint, target)
    except (ValueError, OSError) as error:
        return fail(str(error))
    size_mb = sum(path.stat().st_size for path in target.iterdir()) / 1e6
    print(f"copied to {target}, {size_mb:.1f} MB")
    return 0


def _described(checkpoint: Checkpoint) -> str:
    made, data = checkpoint.provenance, checkpoint.provenance.get("data", {})
    spec, head, space = checkpoint.spec, checkpoint.config.head, checkpoint.action_space
    parameters = sum(value.numel() for value in checkpoint.policy.parameters()) / 1e6
    training = made.get("training", {})
    start = training.get("init_from")
    heard = "does one thing, whatever it is told" if checkpoint.instruction_features is None else "does as it is told"
    lines = {
        "tasks": ", ".join(made.get("tasks", [])) or "not named",
        "language": f"{heard}; trained with: {'; '.join(checkpoint.instructions) or 'no sentence'}",
        "data": f"{data.get('episodes', '?')} episodes of {', '.join(data.get('stores', {})) or '?'}",
        "training": f"{made.get('samples', '?')} samples, {f'from {start}' if start else 'from scratch'}, "
        f"{made.get('created', '?')}",
        "software": ", ".join(f"{name} {value}" for name, value in made.get("software", {}).items()),
        "policy": f"encoder {training.get('encoder', '?')}, {parameters:.2f} M parameters, "
        f"history {head.history}, chunk {head.chunk}",
        "observes": f"{spec.network_points} points in {spec.base_frame}, "
        f"{' x '.join(_span(*side) for side in zip(spec.crop_min_m, spec.crop_max_m, strict=True))} m",
        "acts": f"{space.name} at {space.rate_hz:g} Hz",
    }
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())


def _span(low_m: float, high_m: float) -> str:
    return f"{low_m:g}..{high_m:g}"
