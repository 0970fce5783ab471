"""The CLAR pre-training model (Sec. III): a point encoder with the heads that its four losses need.

Every term of Eq. 7 is a field: switched off, its parts are not built. All randomness (masks, which queries count) comes
in with the batch, so the model is a function of weights and input, drop-path aside.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.losses import chamfer_distance
from clar_core.models.alignment import DeformableAlignment
from clar_core.models.configuration import build_config, plain
from clar_core.models.encoder import PointEncoder, PointEncoderConfig
from clar_core.models.masked_autoencoder import DecoderConfig, MaskedDecoder, reconstruct

TERMS = ("mae", "image", "text", "local")
_MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Eq. 7: which terms there are and how much each counts.

    Attributes:
        mae: reconstruct masked patches (Eq. 1). False is Table V's "w/o MAE".
        image: contrast the cloud with the image (Eq. 2).
        text: contrast the cloud with the sentence (Eq. 3). Both False: "w/o Con.".
        local: align patches with image features (Eq. 6). False: "w/o Local".
        mae_weight, image_weight, text_weight, local_weight: alpha, beta, gamma and theta of Eq. 7.
        decoupled: Eq. 4 to the letter, the positive left out of the denominator; the temperature is then fixed.
        detach_contrast: keep the gradient of the global contrast out of the encoder, as ReCon does.
        soft_positives: samples with the same instruction are positives of each other in the text term.
        local_queries: most patches that enter the local term in a step, drawn from the valid ones.
        exclude_cells: pairs of one image closer than this many teacher cells are no negatives.
        exclude_cosine: pairs of different images whose teacher features are more alike than this are no negatives.
    """

    mae: bool = True
    image: bool = True
    text: bool = True
    local: bool = True
    mae_weight: float = 1.5
    image_weight: float = 0.5
    text_weight: float = 0.5
    local_weight: float = 0.5
    decoupled: bool = False
    detach_contrast: bool = False
    soft_positives: bool = True
    local_queries: int = 4096
    exclude_cells: float = 1.0
    exclude_cosine: float = 0.95

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("loss: expected at least one of mae, image, text, local to be on, got none")
        for name in ("mae_weight", "image_weight", "text_weight", "local_weight", "exclude_cells"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"loss.{name}: expected 0 or more, got {getattr(self, name)}")
        if self.local_queries < 2:
            raise ValueError(f"loss.local_queries: expected at least 2, got {self.local_queries}")

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that are on, in the order of Eq. 7."""
        return tuple(name for name in TERMS if getattr(self, name))

    @property
    def needs_teacher(self) -> bool:
        """Whether any term looks at image or text features."""
        return self.image or self.text or self.local

    def weight(self, term: str) -> float:
        """The weight of a term in Eq. 7."""
        return float(getattr(self, f"{term}_weight"))


@dataclass(frozen=True, kw_only=True)
class ClarConfig:
    """Shape of the pre-training model.

    Attributes:
        encoder: the encoder, the part that policies go on with.
        decoder: of the masked autoencoder.
        loss: which terms of Eq. 7 there are.
        teacher_dim: width of the teacher's image and text features.
        map_dim: width of the teacher's stored feature map.
        map_cells: side of that map.
        local_dim: width in which patches and image features are compared.
        attention_heads, attention_points, max_offset_cells: of the deformable attention (Eq. 5).
        patch_radius: one fixed radius in network units that reconstruction targets are divided by; 1 leaves them raw.
            In raw units the Chamfer distance and its gradients are too small for Eq. 7's weights to mean anything.
    """

    encoder: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher_dim: int = 512
    map_dim: int = 256
    map_cells: int = 14
    local_dim: int = 256
    attention_heads: int = 8
    attention_points: int = 4
    max_offset_cells: float = 3.0
    patch_radius: float = 1.0


class ClarInputs(NamedTuple):
    """What the model looks at; unused parts may be empty tensors.

    Attributes:
        points: (B, N, 3) float32, network units, in farthest-point order.
        mask: (B, G) bool, True for patches hidden from the masked autoencoder.
        reference: (B, G, 2) float32, where the unaugmented patch centres are in the image, (u, v) in [0, 1].
        feature_map: (B, h, w, map_dim) float32, the teacher's map of that image, its mean subtracted.
    """

    points: Tensor
    mask: Tensor
    reference: Tensor
    feature_map: Tensor


class ClarOutputs(NamedTuple):
    """What the losses compare; ``None`` where a term is off.

    Attributes:
        reconstruction: scalar, Eq. 1.
        predicted: (B, H, K, 3) reconstructed hidden patches, in units of the patch radius.
        feature: (B, teacher_dim) of unit length, the cloud's global feature.
        patches: (B, G, local_dim) of unit length, the point side of Eq. 6.
        pixels: (B, G, local_dim) of unit length, the image side of Eq. 6.
    """

    reconstruction: Tensor | None
    predicted: Tensor | None
    feature: Tensor | None
    patches: Tensor | None
    pixels: Tensor | None


class Clar(nn.Module):
    """Point encoder, masked decoder, global projection, local alignment, and one learned temperature a contrast."""

    def __init__(self, config: ClarConfig) -> None:
        super().__init__()
        self.config = config
        loss, dim = config.loss, config.encoder.dim
        self.encoder = PointEncoder(config.encoder)
        self.decoder = (
            MaskedDecoder(dim=dim, neighbours=config.encoder.neighbours, config=config.decoder) if loss.mae else None
        )
        self.projection = nn.Linear(self.encoder.feature_dim, config.teacher_dim) if loss.image or loss.text else None
        self.patch_projection = nn.Linear(dim, config.local_dim) if loss.local else None
        self.alignment = (
            DeformableAlignment(
                query_dim=dim,
                value_dim=config.map_dim,
                dim=config.local_dim,
                heads=config.attention_heads,
                points=config.attention_points,
                max_offset_cells=config.max_offset_cells,
                cells=config.map_cells,
            )
            if loss.local
            else None
        )
        start = torch.tensor(math.log(1 / 0.07))
        contrasts = [term for term in loss.terms if term != "mae"]
        self.log_scales = nn.ParameterDict(
            {name: nn.Parameter(start.clone(), requires_grad=not loss.decoupled) for name in contrasts}
        )
        if not loss.needs_teacher:
            # The visible pass has no class token: nothing would train it.
            self.encoder.cls_token.requires_grad_(False)
            self.encoder.cls_pos.requires_grad_(False)

    def scale(self, term: str) -> Tensor:
        """1 / temperature of a contrast, at most 100."""
        return self.log_scales[term].exp()

    @torch.no_grad()
    def clamp_scales(self) -> None:
        """Keep the learned temperatures in their bounds; call after every optimiser step."""
        for value in self.log_scales.values():
            value.clamp_(0.0, _MAX_LOG_SCALE)

    def forward(self, inputs: ClarInputs, *, fps_ordered: bool = True) -> ClarOutputs:
        """Both passes of Fig. 2: the visible patches for reconstruction, all patches for alignment."""
        loss, encoder = self.config.loss, self.encoder
        centres, patches = encoder.group(inputs.points, fps_ordered=fps_ordered)
        tokens = encoder.patch_embed(patches)
        reconstruction = predicted = feature = points = pixels = None
        if self.decoder is not None:
            scaled = patches / self.config.patch_radius
            predicted, target = reconstruct(encoder, self.decoder, tokens, centres, scaled, inputs.mask)
            reconstruction = chamfer_distance(predicted, target)
        if loss.needs_teacher:
            features = encoder.encode_all(tokens, centres)
            if self.projection is not None:
                pooled = features.pooled.detach() if loss.detach_contrast else features.pooled
                feature = F.normalize(self.projection(pooled).float(), dim=-1)
            if self.alignment is not None and self.patch_projection is not None:
                points = F.normalize(self.patch_projection(features.tokens).float(), dim=-1)
                aligned = self.alignment(features.tokens, inputs.reference, inputs.feature_map)
                pixels = F.normalize(aligned.float(), dim=-1)
        return ClarOutputs(reconstruction, predicted, feature, points, pixels)


def config_to_dict(config: ClarConfig) -> dict[str, Any]:
    """Plain JSON values."""
    values = dataclasses.asdict(config)
    return {**values, **{name: plain(getattr(config, name)) for name in _PARTS}}


def config_from_dict(values: Mapping[str, Any]) -> ClarConfig:
    """The configuration of :func:`config_to_dict`. Raises ValueError naming the field that is wrong."""
    for name in _PARTS:
        if not isinstance(values.get(name), Mapping):
            raise ValueError(f"model.{name}: expected an object, got {values.get(name)!r}")
    parts = {name: build_config(kind, values[name], f"model.{name}") for name, kind in _PARTS.items()}
    rest = {name: value for name, value in values.items() if name not in _PARTS}
    known = {f.name: f.default for f in dataclasses.fields(ClarConfig) if f.name not in _PARTS}
    for name, default in known.items():
        if name not in rest:
            raise ValueError(f"model.{name}: missing")
        if not isinstance(rest[name], (int, float) if isinstance(default, float) else int):
            raise ValueError(f"model.{name}: expected {type(default).__name__}, got {rest[name]!r}")
    if unknown := sorted(set(rest) - set(known)):
        raise ValueError(f"model.{unknown[0]}: unknown field, expected one of {', '.join(sorted(known))}")
    return ClarConfig(**parts, **rest)


_PARTS: dict[str, type[Any]] = {"encoder": PointEncoderConfig, "decoder": DecoderConfig, "loss": LossConfig}
