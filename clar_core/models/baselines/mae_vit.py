"""VC-1 and SPA as encoders: plain vision transformers that were pre-trained with masked images, through timm.

VC-1 (Majumdar et al., NeurIPS 2023) is a masked autoencoder on videos of people and homes; SPA (Zhu et al., ICLR 2025)
learnt to render rooms. The feature of both is the class token after the last normalisation, as their authors use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from clar_core.models.baselines.published import below, copy_weights
from clar_core.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder, ImageEncoderConfig
from clar_core.models.vision_libraries import import_timm


@dataclass(frozen=True, kw_only=True)
class MaeVitConfig(ImageEncoderConfig):
    """Shape of the transformer; the defaults are ViT-B/16's.

    Attributes:
        dim, depth, heads: of the transformer.
        patch: pixels along the side of a patch.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    patch: int = 16

    def __post_init__(self) -> None:
        self.check_positive("dim", "depth", "heads", "patch")
        if self.dim % self.heads or self.pixels % self.patch:
            raise ValueError(
                f"encoder.heads, encoder.patch: expected divisors of dim {self.dim} and pixels {self.pixels}, "
                f"got {self.heads}, {self.patch}"
            )


@dataclass(frozen=True, kw_only=True)
class VC1Config(MaeVitConfig):
    """Shape of VC-1; ViT-B/16 or, with dim 1024, depth 24 and heads 16, ViT-L/16."""


@dataclass(frozen=True, kw_only=True)
class SPAConfig(MaeVitConfig):
    """Shape of SPA; the defaults are the ViT-L/16 that its authors recommend."""

    dim: int = 1024
    depth: int = 24
    heads: int = 16


class MaeVit(ImageEncoder):
    """A vision transformer with learned positions; the feature is its class token."""

    prefix: ClassVar[str]
    not_the_encoder: ClassVar[tuple[str, ...]]

    def __init__(self, config: MaeVitConfig) -> None:
        super().__init__(config, IMAGENET_MEAN, IMAGENET_STD)
        self.vit = import_timm().models.vision_transformer.VisionTransformer(
            img_size=config.pixels,
            patch_size=config.patch,
            embed_dim=config.dim,
            depth=config.depth,
            num_heads=config.heads,
            num_classes=0,
        )

    @property
    def feature_dim(self) -> int:
        """Width of the class token."""
        return self.config.dim  # type: ignore[no-any-return]

    def pooled(self, images: Tensor) -> Tensor:
        """See :class:`ImageEncoder`."""
        return self.vit.forward_features(images)[:, 0]  # type: ignore[no-any-return]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of the encoder; those of its pre-training's decoder are left alone.

        Raises:
            ValueError: a weight is missing, unknown, or of another shape; named.
        """
        theirs = below(self.prefix, weights)
        theirs = {name: v for name, v in theirs.items() if not any(part in name for part in self.not_the_encoder)}
        copy_weights(self.vit.state_dict(), theirs, self.prefix)


class VC1(MaeVit):
    """VC-1, see the module."""

    weights_source: ClassVar[str] = (
        "VC-1 as published (keys as of a masked autoencoder, below 'model'): vc1_vitb.pth for vc1, vc1_vitl.pth for "
        "vc1_large, of https://github.com/facebookresearch/eai-vc, at https://dl.fbaipublicfiles.com/eai-vc/ (CC-BY-NC "
        "4.0: not for commercial use)"
    )
    containers: ClassVar[tuple[str, ...]] = ("model",)
    prefix: ClassVar[str] = ""
    not_the_encoder: ClassVar[tuple[str, ...]] = ("decoder", "mask_token")


class SPA(MaeVit):
    """SPA, see the module."""

    weights_source: ClassVar[str] = (
        "SPA as published (keys begin with model.img_backbone.): spa-l.safetensors for spa, spa-b.safetensors for "
        "spa_base, of https://huggingface.co/HaoyiZhu/SPA (MIT)"
    )
    containers: ClassVar[tuple[str, ...]] = ("state_dict",)
    prefix: ClassVar[str] = "model.img_backbone."
    not_the_encoder: ClassVar[tuple[str, ...]] = ("decoder", "mask", "readout", "upsample", "head")
