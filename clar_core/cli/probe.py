"""``clar probe``: what can be read out of frozen encoders, against random initialisation and against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from clar_core.cli.main import fail


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare encoders by what linear and attentive read-outs find in their frozen features."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of `clar pretrain`, all of one encoder architecture."""
    views: Path = Path("outputs/data/probe_views")
    """Scenes with one object each: `clar data views --objects 1 1 --classes all --first-seed 100000`."""
    output: Path = Path("outputs/probe")
    """Where probe.md, probe.json and probe.png go."""
    random_encoders: int = 1
    """How many random initialisations; the first is what the others are compared with."""
    seed: int = 0
    """Of the split, the read-outs and the random initialisation."""


def main(arguments: list[str]) -> int:
    """Probe; 1 with the reason when it cannot."""
    import torch
    from tqdm import tqdm

    from clar_core.data.views import Views
    from clar_core.evaluation.probe import ProbeData, Score, encode, probe
    from clar_core.evaluation.probe_report import probe_table, write_report
    from clar_core.models.encoder import PointEncoder
    from clar_core.simulation.objects import HELD_OUT_CLASSES
    from clar_core.training.pretrain_checkpoints import load_pretrained

    options = tyro.cli(Options, prog="clar probe", args=arguments)
    if not options.checkpoints:
        return fail("expected at least one checkpoint directory of `clar pretrain`, got none")
    try:
        checkpoints = {str(path): load_pretrained(path) for path in options.checkpoints}
        views = Views(options.views)
        data = ProbeData.load(views, HELD_OUT_CLASSES)
        for name, checkpoint in checkpoints.items():
            if checkpoint.config.encoder != next(iter(checkpoints.values())).config.encoder:
                return fail(
                    f"{name}: another encoder than {options.checkpoints[0]}; probe encoders of one architecture"
                )
            if lines := checkpoint.spec.differences(views.spec):
                return fail(f"{name}: observed otherwise than {options.views}: {'; '.join(lines)}")
    except ValueError as error:
        return fail(str(error))
    config = next(iter(checkpoints.values())).config.encoder
    encoders = {}
    for i in range(options.random_encoders):
        torch.manual_seed(options.seed + i)
        encoders["random" if i == 0 else f"random {i + 1}"] = PointEncoder(config)
    facts = {}
    for name, checkpoint in checkpoints.items():
        label = _label(Path(name), checkpoint.config.loss.terms)
        encoders[label] = checkpoint.model.encoder
        facts[label] = {k: checkpoint.provenance.get(k) for k in ("samples", "seconds")} | {
            "teacher": checkpoint.teacher
        }
    scores: dict[str, dict[str, Score]] = {}
    with tqdm(total=len(encoders) * len(data.points), unit="cloud") as bar:
        for name, encoder in encoders.items():
            bar.set_postfix_str(name)
            scores[name] = probe(encode(encoder, data.points, bar.update), data, seed=options.seed)
    path = write_report(options.output, scores, {"views": str(options.views), "samples": len(data.points), **facts})
    print(probe_table(scores))
    print(f"written: {path}, with probe.json and probe.png beside it")
    return 0


def _label(path: Path, terms: tuple[str, ...]) -> str:
    """The run's name and its loss terms."""
    run = path.parent.name if path.name in ("best", "last") else path.name
    return f"{run} ({' + '.join(terms)})"
