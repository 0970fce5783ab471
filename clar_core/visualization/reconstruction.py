"""Pictures of what the masked autoencoder reconstructs."""

from __future__ import annotations

from typing import Any

import torch

from clar_core.data.pretrain import PretrainBatch
from clar_core.models.clar import Clar
from clar_core.models.masked_autoencoder import split


@torch.no_grad()
def reconstruction_figure(model: Clar, batch: PretrainBatch, samples: int = 2) -> Any:
    """A matplotlib figure: for the first samples the visible patches, all patches, and visible with reconstructed ones.

    Raises:
        ValueError: the model has no decoder.
    """
    from matplotlib.figure import Figure

    if model.decoder is None:
        raise ValueError("expected a model with the reconstruction term, got one without decoder")
    training = model.training
    model.eval()
    outputs = model(batch.inputs)
    model.train(training)
    assert outputs.predicted is not None
    centres, patches = model.encoder.group(batch.points, fps_ordered=True)
    visible_centres, hidden_centres = split(centres, batch.mask)
    visible, hidden = split(patches, batch.mask)
    visible = visible + visible_centres[:, :, None]
    hidden = hidden + hidden_centres[:, :, None]
    predicted = outputs.predicted * model.config.patch_radius + hidden_centres[:, :, None]
    samples = min(samples, len(centres))
    figure = Figure(figsize=(12, 3.8 * samples), layout="tight")
    for row in range(samples):
        panels = (("visible", None, ""), ("original", hidden, "#1f77b4"), ("reconstructed", predicted, "#d62728"))
        for column, (title, added, color) in enumerate(panels):
            axes: Any = figure.add_subplot(samples, 3, 3 * row + column + 1, projection="3d")
            axes.scatter(*visible[row].reshape(-1, 3).float().cpu().numpy().T, s=1.5, c="#888888")
            if added is not None:
                axes.scatter(*added[row].reshape(-1, 3).float().cpu().numpy().T, s=1.5, c=color)
            axes.set_title(title)
            axes.set_box_aspect((1, 1, 0.6))
            axes.set_axis_off()
            axes.view_init(elev=35, azim=35)
            axes.set_xlim(-0.7, 0.7)
            axes.set_ylim(-0.7, 0.7)
            axes.set_zlim(-0.45, 0.45)
    return figure
