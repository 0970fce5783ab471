"""Curves of a pre-training run from its ``metrics.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clar_core.models.clar import TERMS

_TITLES = {
    "mae": "reconstruction",
    "image": "cloud and image",
    "text": "cloud and sentence",
    "local": "patch and pixels",
}
_CONTROLS = {
    "local_chance": "chance",
    "local_shuffled": "tokens shuffled",
    "local_other_scene": "another scene's image",
}


def loss_figure(metrics: Path) -> Any:
    """A matplotlib figure: every term on training and held-out scenes; beside the local one its chance and controls.

    Raises:
        ValueError: the file holds no validation yet.
    """
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    terms = [term for term in TERMS if rows and f"validation/{term}" in rows[-1]]
    if not terms:
        raise ValueError(f"{metrics}: no validation has been logged yet")
    figure = Figure(figsize=(3.6 * len(terms), 3.2), layout="constrained")
    panels: Any = figure.subplots(1, len(terms), squeeze=False)[0]
    samples = [row["samples"] / 1000 for row in rows]
    for axes, term in zip(panels, terms, strict=True):
        axes.plot(samples, [row.get(f"train/{term}") for row in rows], color="#999999", label="training")
        axes.plot(samples, [row[f"validation/{term}"] for row in rows], color="#3b6ea5", label="held out")
        if term == "local":
            for (name, label), style in zip(_CONTROLS.items(), (":", "--", "-."), strict=True):
                axes.plot(samples, [row[f"validation/{name}"] for row in rows], style, color="#d98c3f", label=label)
        axes.set_title(_TITLES[term], fontsize=10)
        axes.set_xlabel("thousand samples")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure
