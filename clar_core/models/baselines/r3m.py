"""R3M (Nair et al., CoRL 2022) as an encoder: a ResNet-50 that learnt from videos of people at work, through timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from clar_core.models.baselines.published import below, copy_weights
from clar_core.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder, ImageEncoderConfig
from clar_core.models.vision_libraries import import_timm

_PREFIX = "module.convnet."


@dataclass(frozen=True, kw_only=True)
class R3MConfig(ImageEncoderConfig):
    """Shape of the network; the defaults are those of ResNet-50.

    Attributes:
        blocks: bottlenecks of every stage.
        channels: of every stage's bottlenecks; a quarter of what a stage puts out.
    """

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    channels: tuple[int, ...] = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        self.check_positive()
        if len(self.blocks) != len(self.channels) or min(*self.blocks, *self.channels) < 1:
            raise ValueError(
                f"encoder.blocks, encoder.channels: expected as many positive numbers in both, got {self.blocks} and "
                f"{self.channels}"
            )


class R3M(ImageEncoder):
    """ResNet without its classifier: the mean over the last feature map."""

    weights_source: ClassVar[str] = (
        "R3M's ResNet-50 (keys begin with module.convnet.): model.pt of the folder r3m_50, which "
        "r3m.load_r3m('resnet50') downloads, see https://github.com/facebookresearch/r3m (MIT)"
    )
    containers: ClassVar[tuple[str, ...]] = ("r3m",)

    def __init__(self, config: R3MConfig) -> None:
        super().__init__(config, IMAGENET_MEAN, IMAGENET_STD)
        resnet = import_timm().models.resnet
        self.convnet = resnet.ResNet(resnet.Bottleneck, config.blocks, num_classes=0, channels=config.channels)

    @property
    def feature_dim(self) -> int:
        """Channels of the last feature map."""
        return 4 * self.config.channels[-1]  # type: ignore[no-any-return]

    def pooled(self, images: Tensor) -> Tensor:
        """See :class:`ImageEncoder`."""
        return self.convnet(images)  # type: ignore[no-any-return]

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of the network; those of the language reward are left alone.

        Raises:
            ValueError: a weight is missing, unknown, or of another shape; named.
        """
        copy_weights(self.convnet.state_dict(), below(_PREFIX, weights), _PREFIX)
