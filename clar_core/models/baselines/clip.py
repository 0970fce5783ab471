"""CLIP (Radford et al., ICML 2021) as an encoder: the image tower, through open_clip. The feature is the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from clar_core.models.baselines.published import below, copy_weights
from clar_core.models.image_encoder import CLIP_MEAN, CLIP_STD, ImageEncoder, ImageEncoderConfig
from clar_core.models.vision_libraries import import_open_clip

_PREFIX = "visual."


@dataclass(frozen=True, kw_only=True)
class ClipConfig(ImageEncoderConfig):
    """Shape of the tower; the defaults are OpenAI's ViT-B/16.

    Attributes:
        dim, depth, heads: of the transformer.
        patch: pixels along the side of a patch.
        feature_dim: width of the embedding that images and sentences share.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    patch: int = 16
    feature_dim: int = 512

    def __post_init__(self) -> None:
        self.check_positive("dim", "depth", "heads", "patch", "feature_dim")


class ClipImage(ImageEncoder):
    """CLIP's image tower: class token after the last block, normalised and projected."""

    weights_source: ClassVar[str] = (
        "OpenAI's CLIP ViT-B/16 in open_clip's layout (keys begin with visual.): open_clip_model.safetensors of "
        "https://huggingface.co/timm/vit_base_patch16_clip_224.openai (MIT)"
    )

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config, CLIP_MEAN, CLIP_STD)
        transformer = import_open_clip().transformer
        self.visual = transformer.VisionTransformer(
            image_size=config.pixels,
            patch_size=config.patch,
            width=config.dim,
            layers=config.depth,
            heads=config.heads,
            mlp_ratio=4.0,
            output_dim=config.feature_dim,
            act_layer=transformer.QuickGELU,
        )

    @property
    def feature_dim(self) -> int:
        """Width of the embedding."""
        return self.config.feature_dim  # type: ignore[no-any-return]

    def pooled(self, images: Tensor) -> Tensor:
        """See :class:`ImageEncoder`."""
        return self.visual(images)  # type: ignore[no-any-return]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of the image tower; those of the text tower are left alone.

        Raises:
            ValueError: a weight is missing, unknown, or of another shape; named.
        """
        copy_weights(self.visual.state_dict(), below(_PREFIX, weights), _PREFIX)
