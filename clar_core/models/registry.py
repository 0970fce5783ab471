"""Models by name and models from JSON: the explicit numbers of every preset are here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

from torch import nn

from clar_core.models.baselines.clip import ClipConfig, ClipImage
from clar_core.models.baselines.dp3 import DP3, DP3Config
from clar_core.models.baselines.lift3d import Lift3D, Lift3DConfig
from clar_core.models.baselines.mae_vit import SPA, VC1, SPAConfig, VC1Config
from clar_core.models.baselines.pointnet import PointNet, PointNetConfig
from clar_core.models.baselines.pointnet2 import PointNet2, PointNet2Config
from clar_core.models.baselines.pointnext import PointNeXt, PointNeXtConfig
from clar_core.models.baselines.r3m import R3M, R3MConfig
from clar_core.models.baselines.vggt import VGGT, VGGTConfig
from clar_core.models.configuration import build_config, plain
from clar_core.models.diffusion_policy import DiffusionHeadConfig, DiffusionPolicy
from clar_core.models.encoder import PointEncoder, PointEncoderConfig
from clar_core.models.image_encoder import ImageEncoderConfig
from clar_core.models.policy import BasePolicy, Policy, PolicyHeadConfig

EncoderConfig = Any
"""A dataclass of ``_KINDS``; ``None`` is blind."""
HeadName = Literal["mlp", "diffusion"]
AnyHeadConfig = PolicyHeadConfig | DiffusionHeadConfig

_PAPER = PointEncoderConfig()
_SMALL = PointEncoderConfig(dim=192, depth=6, heads=3)

BASELINES: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "pointnet": (PointNetConfig, PointNet),
    "pointnet2": (PointNet2Config, PointNet2),
    "pointnext": (PointNeXtConfig, PointNeXt),
    "dp3": (DP3Config, DP3),
    "lift3d": (Lift3DConfig, Lift3D),
    "clip": (ClipConfig, ClipImage),
    "r3m": (R3MConfig, R3M),
    "vc1": (VC1Config, VC1),
    "spa": (SPAConfig, SPA),
    "vggt": (VGGTConfig, VGGT),
}
"""Encoders that CLAR is compared with: name -> (dataclass whose defaults are the published shape, module)."""

PRESETS: dict[str, EncoderConfig] = {
    "clar": _PAPER,
    "clar_large_cloud": replace(_PAPER, centres=128),
    "clar_small": _SMALL,
    # Half the points a patch and half the patch widths: 2.5 times the training speed of clar_small on a CPU.
    "clar_cpu": replace(_SMALL, neighbours=16, patch_widths=(64, 128, 256)),
    **{name: config() for name, (config, _) in BASELINES.items()},
    "vc1_large": VC1Config(dim=1024, depth=24, heads=16),
    "spa_base": SPAConfig(dim=768, depth=12, heads=12),
    "dp3_diffusion": DP3Config(),
    "blind": None,
}
"""Encoders by name. ``blind`` sees no cloud: the control that tells whether a task needs vision at all."""

HEADS: dict[HeadName, type[AnyHeadConfig]] = {"mlp": PolicyHeadConfig, "diffusion": DiffusionHeadConfig}
"""Heads by name: ``mlp`` is the paper's; ``diffusion`` is DP3's."""

_HEAD_OF: dict[str, HeadName] = {"dp3_diffusion": "diffusion"}

_KINDS: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "point_encoder": (PointEncoderConfig, PointEncoder),
    **BASELINES,
}


_ADDED_LATER = {"history", "chunk", "action_space"}
"""Fields that checkpoints of earlier versions lack; their defaults are what those versions did."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """A policy's architecture: its encoder (``None``: blind) and its head."""

    encoder: EncoderConfig
    head: AnyHeadConfig = field(default_factory=PolicyHeadConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the encoder carries its kind, and so does a head that is not the paper's."""
        encoder: dict[str, Any] = {"kind": "none"}
        for kind, (config_type, _) in _KINDS.items():
            if type(self.encoder) is config_type:
                encoder = {"kind": kind, **plain(self.encoder)}
        head = plain(self.head)
        if isinstance(self.head, DiffusionHeadConfig):
            head = {"kind": "diffusion", **head}
        return {"encoder": encoder, "head": head}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PolicyConfig:
        """The configuration of :meth:`to_dict`. Raises ValueError naming the field that is wrong."""
        for name in ("encoder", "head"):
            if not isinstance(values.get(name), Mapping):
                raise ValueError(f"model.{name}: expected an object, got {values.get(name)!r}")
        encoder = dict(values["encoder"])
        kind = encoder.pop("kind", None)
        head = _head_from(dict(values["head"]))
        if kind == "none":
            return cls(encoder=None, head=head)
        if kind not in _KINDS:
            raise ValueError(f"model.encoder.kind: expected one of {', '.join(_KINDS)}, none; got {kind!r}")
        return cls(encoder=build_config(_KINDS[kind][0], encoder, "model.encoder"), head=head)


def encoder_preset(name: str) -> EncoderConfig:
    """The encoder of a preset. Raises ValueError with the nearest names for an unknown one."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=3) or sorted(PRESETS)
        raise ValueError(f"encoder: there is no preset {name!r}; did you mean {' or '.join(near)}?")
    return PRESETS[name]


def image_pixels(config: EncoderConfig) -> int:
    """Side of the square colour image that an encoder sees; 0 for one that sees none."""
    return config.pixels if isinstance(config, ImageEncoderConfig) else 0


def build_encoder(config: EncoderConfig) -> nn.Module | None:
    """The encoder of a configuration, randomly initialised; ``None`` for a blind one."""
    if config is None:
        return None
    return next(module for config_type, module in _KINDS.values() if type(config) is config_type)(config)


def head_of(preset: str) -> HeadName:
    """The head that a preset's policies have unless another one is asked for."""
    return _HEAD_OF.get(preset, "mlp")


def policy_preset(name: str) -> PolicyConfig:
    """A preset's encoder and its head. Raises ValueError with the nearest names for an unknown one."""
    return PolicyConfig(encoder=encoder_preset(name), head=HEADS[head_of(name)]())


def build_policy(config: PolicyConfig) -> BasePolicy:
    """The policy of a configuration, randomly initialised."""
    encoder = build_encoder(config.encoder)
    if isinstance(config.head, DiffusionHeadConfig):
        return DiffusionPolicy(encoder, config.head)
    return Policy(encoder, config.head)


def _head_from(values: dict[str, Any]) -> AnyHeadConfig:
    kind = values.pop("kind", "mlp")
    if kind not in HEADS:
        raise ValueError(f"model.head.kind: expected one of {', '.join(HEADS)}; got {kind!r}")
    head: AnyHeadConfig = build_config(HEADS[kind], values, "model.head", _ADDED_LATER)
    return head
