"""Where a pre-trained encoder looks (CLAR Fig. 6): heat on the cloud, and the sampled places on the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clar_core.data.pretrain import NO_AUGMENTATION, PretrainDataset, PretrainKey
from clar_core.data.views import Views
from clar_core.models.clar import Clar
from clar_core.models.encoder import PointEncoder

Array = NDArray[np.float32]
_SHOWN_QUERIES = 6


@dataclass(frozen=True, eq=False)
class Attention:
    """One cloud with the image that it is aligned to.

    Attributes:
        points_m: (N, 3) metres, base frame.
        centres_m: (G, 3) patch centres.
        heat: (G,) share of the class token's attention in the last block that each patch gets; sums to 1.
        point_heat: (N,) the heat of the nearest patches, interpolated, scaled to [0, 1].
        image: (S, S, 3) uint8.
        reference: (G, 2) pixels of the patch centres.
        valid: (G,) whether the image shows the centre.
        locations: (G, heads, K, 2) pixels that the local alignment samples; empty without the local term.
        weights: (G, heads, K) their attention weights, each head's summing to 1.
        sentence: the instruction.
    """

    points_m: Array
    centres_m: Array
    heat: Array
    point_heat: Array
    image: NDArray[np.uint8]
    reference: Array
    valid: NDArray[np.bool_]
    locations: Array
    weights: Array
    sentence: str

    def strongest(self, count: int = _SHOWN_QUERIES) -> NDArray[np.int64]:
        """The patches that get most attention among those that the image shows."""
        order = np.argsort(np.where(self.valid, -self.heat, np.inf))
        return order[: min(count, int(self.valid.sum()))]


@torch.no_grad()
def class_attention(encoder: PointEncoder, points: torch.Tensor) -> torch.Tensor:
    """Attention of the class token to each patch in the last block, mean over the heads: (B, G), rows sum to 1.

    Args:
        encoder: in evaluation mode.
        points: (B, N, 3) network units, farthest-point order.
    """
    centres, patches = encoder.group(points, fps_ordered=True)
    batch = len(points)
    tokens = torch.cat([encoder.cls_token.expand(batch, -1, -1), encoder.patch_embed(patches)], dim=1)
    positions = torch.cat([encoder.cls_pos.expand(batch, -1, -1), encoder.pos_embed(centres)], dim=1)
    *blocks, last = encoder.blocks.blocks
    for block in blocks:
        tokens = block(tokens + positions)
    attention: Any = last.attn
    x = last.norm1(tokens + positions)  # type: ignore[operator]
    qkv = attention.qkv(x).view(batch, x.shape[1], 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    query, key = qkv[0][:, :, :1], qkv[1]
    shares = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)[:, :, 0, 1:].mean(1)
    return shares / shares.sum(1, keepdim=True)


@torch.no_grad()
def attend(model: Clar, views: Views, episode: int, seed: int = 0) -> Attention:
    """Attention on one view of an episode.

    Raises:
        IndexError: the set has no such episode.
    """
    if not 0 <= episode < views.episodes:
        raise IndexError(f"episode: expected 0 to {views.episodes - 1} of {views.directory}, got {episode}")
    groups = model.config.encoder.centres
    data = PretrainDataset(
        views, None, np.array([episode]), groups=groups, augmentation=NO_AUGMENTATION, fused=0.0, image_geometry=True
    )
    sample = data[PretrainKey(seed, 0, 0)]
    points = torch.from_numpy(sample.points)[None]
    features = model.eval().encoder(points)
    heat = class_attention(model.encoder, points)[0].numpy()
    image = views.read("image", sample.view, sample.view + 1)[0]
    size = image.shape[0]
    locations, weights = np.zeros((groups, 0, 0, 2), np.float32), np.zeros((groups, 0, 0), np.float32)
    if model.alignment is not None:
        sampling = model.alignment.sampling(features.tokens, torch.from_numpy(sample.reference)[None])
        locations, weights = sampling.locations[0].numpy() * size - 0.5, sampling.weights[0].numpy()
    centres = features.centres[0].numpy()
    return Attention(
        views.spec.denormalise(sample.points),
        views.spec.denormalise(centres),
        heat,
        _spread(heat, centres, sample.points),
        image,
        sample.reference * size - 0.5,
        sample.valid,
        locations,
        weights,
        views.sentences[int(views.instant[sample.view])],
    )


def attention_figure(attention: Attention) -> Any:
    """A matplotlib figure: the cloud coloured by attention, and the image with what the strongest patches sample."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    cloud: Any = figure.add_subplot(1, 2, 1, projection="3d")
    x, y, z = attention.points_m.T
    shown = cloud.scatter(x, y, z, c=attention.point_heat, cmap="jet", s=4, vmin=0, vmax=1)
    cloud.set_box_aspect((np.ptp(x), np.ptp(y), np.ptp(z)))
    cloud.view_init(elev=35, azim=35)
    cloud.set_xlabel("x [m]")
    cloud.set_ylabel("y [m]")
    cloud.set_title("attention of the class token, last block")
    figure.colorbar(shown, ax=cloud, shrink=0.6, label="relative")
    picture: Any = figure.add_subplot(1, 2, 2)
    picture.imshow(attention.image)
    palette = colormaps["tab10"]
    for i, patch in enumerate(attention.strongest()):
        color = palette(i)
        u, v = attention.locations[patch].reshape(-1, 2).T if attention.locations.size else ((), ())
        picture.scatter(u, v, s=4 + 60 * attention.weights[patch].ravel(), color=color, alpha=0.7, linewidths=0)
        picture.plot(*attention.reference[patch], "+", color=color, markersize=11, markeredgewidth=2)
    picture.set_xlim(-0.5, attention.image.shape[1] - 0.5)
    picture.set_ylim(attention.image.shape[0] - 0.5, -0.5)
    picture.set_axis_off()
    picture.set_title(f"+ patch centres, • sampled places\n“{attention.sentence}”", fontsize=10)
    return figure


def write_recording(path: Path, attentions: dict[str, Attention]) -> None:
    """A Rerun recording (.rrd): per name the cloud coloured by attention, and the image with the sampled places."""
    import rerun as rr
    from matplotlib import colormaps

    stream = rr.RecordingStream("clar_attention")
    stream.save(path)
    stream.log("/", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    palette = colormaps["tab10"]
    for name, attention in attentions.items():
        colors = (colormaps["jet"](attention.point_heat)[:, :3] * 255).astype(np.uint8)
        stream.log(f"{name}/cloud", rr.Points3D(attention.points_m, colors=colors, radii=0.003), static=True)
        stream.log(f"{name}/image", rr.Image(attention.image), static=True)
        for i, patch in enumerate(attention.strongest()):
            color = (np.array(palette(i)[:3]) * 255).astype(np.uint8)
            stream.log(
                f"{name}/cloud/patch{i}",
                rr.Points3D([attention.centres_m[patch]], colors=color, radii=0.008),
                static=True,
            )
            where = f"{name}/image/patch{i}"
            stream.log(f"{where}/centre", rr.Points2D([attention.reference[patch]], colors=color, radii=3), static=True)
            if attention.locations.size:
                radii = 0.5 + 3.0 * attention.weights[patch].ravel()
                places = attention.locations[patch].reshape(-1, 2)
                stream.log(f"{where}/sampled", rr.Points2D(places, colors=color, radii=radii), static=True)
    stream.flush()


def _spread(heat: Array, centres: Array, points: Array, neighbours: int = 4) -> Array:
    """Heat of the nearest centres, weighted by inverse distance, its 2nd to 98th percentile scaled to [0, 1]."""
    from clar_core.geometry.points import knn

    nearest = knn(points, centres, neighbours)
    distance = np.linalg.norm(points[:, None] - centres[nearest], axis=-1)
    weight = 1.0 / np.maximum(distance, 1e-3)
    value = (heat[nearest] * weight).sum(1) / weight.sum(1)
    low, high = np.percentile(value, [2, 98])
    return np.asarray(np.clip((value - low) / max(float(high - low), 1e-12), 0.0, 1.0), dtype=np.float32)
