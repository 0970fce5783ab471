"""Encoders of colour images: published layouts, what they compute, and what they say without weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.models.baselines.clip import ClipConfig
from clar_core.models.baselines.mae_vit import SPAConfig, VC1Config
from clar_core.models.baselines.published import PublishedWeightsError, load_published, missing_weights
from clar_core.models.baselines.r3m import R3MConfig
from clar_core.models.baselines.vggt import VGGT, VGGTConfig, rotary_turn
from clar_core.models.image_encoder import ImageEncoder, ImageEncoderConfig
from clar_core.models.policy import PolicyHeadConfig
from clar_core.models.registry import PRESETS, PolicyConfig, build_encoder, build_policy, image_pixels
from clar_core.models.vision_libraries import import_open_clip, import_timm

SMALL: dict[str, ImageEncoderConfig] = {
    "clip": ClipConfig(pixels=32, patch=16, dim=32, depth=2, heads=2, feature_dim=12),
    "r3m": R3MConfig(pixels=32, blocks=(1, 1, 1, 1), channels=(4, 6, 8, 10)),
    "vc1": VC1Config(pixels=32, patch=16, dim=24, depth=2, heads=3),
    "spa": SPAConfig(pixels=32, patch=16, dim=24, depth=2, heads=3),
    "vggt": VGGTConfig(pixels=28, patch=14, dim=32, heads=2, backbone_depth=2, depth=2, registers=3),
}


def images(size: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, generator=generator)


def built(name: str) -> ImageEncoder:
    encoder = build_encoder(SMALL[name])
    assert isinstance(encoder, ImageEncoder)
    return encoder.eval()


def randomised(module: nn.Module, seed: int = 1) -> nn.Module:
    """Every tensor of a module drawn anew: an initialisation of zeros or ones would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))
    return module


def published(name: str) -> tuple[dict[str, Any], nn.Module]:
    """Small random weights in the published layout, and the reference network that they are of."""
    config: Any = SMALL[name]
    if name == "clip":
        transformer = import_open_clip().transformer
        reference: nn.Module = randomised(
            transformer.VisionTransformer(
                image_size=32, patch_size=16, width=32, layers=2, heads=2, mlp_ratio=4.0, output_dim=12,
                act_layer=transformer.QuickGELU,
            )
        )  # fmt: skip
        weights: dict[str, Any] = {f"visual.{k}": v for k, v in reference.state_dict().items()}
        return weights | {"logit_scale": torch.ones(()), "positional_embedding": torch.ones(77, 8)}, reference
    if name == "r3m":
        import_timm()
        import torchvision

        class Small(torchvision.models.ResNet):
            """torchvision's ResNet, which R3M is, with fewer channels."""

            def __init__(self) -> None:
                super().__init__(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])
                self.inplanes = 64
                for number, channels in enumerate(config.channels):
                    layer = self._make_layer(torchvision.models.resnet.Bottleneck, channels, 1, 1 + (number > 0))
                    setattr(self, f"layer{number + 1}", layer)
                self.fc = nn.Identity()

        reference = randomised(Small())
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.abs_().add_(0.5)
        state = {f"module.convnet.{k}": v for k, v in reference.state_dict().items()}
        state |= {"module.lang_rew.pred.0.weight": torch.ones(2, 2), "module.lang_enc.model.x": torch.ones(2)}
        return {"r3m": state, "global_step": 1000}, reference
    if name in ("vc1", "spa"):
        reference = randomised(MaskedAutoencoderEncoder(config.dim, config.depth, config.heads, patches=4))
        state = dict(reference.state_dict())
        extra = {"decoder_embed.weight": torch.ones(2, 2), "mask_token": torch.ones(1, 1, 2)}
        if name == "vc1":
            return {"model": state | extra}, reference
        extra |= {"readout_project.0.weight": torch.ones(2), "upsample.0.conv.weight": torch.ones(2)}
        return {f"model.img_backbone.{k}": v for k, v in (state | extra).items()} | {
            "model.render_head.x": torch.ones(1)
        }, reference
    reference = randomised(Aggregator(config))
    state = {f"aggregator.{k}": v for k, v in reference.state_dict().items()}
    return state | {"camera_head.token_norm.weight": torch.ones(4), "depth_head.norm.weight": torch.ones(4)}, reference


class Branches(nn.Module):
    """A pre-norm block as DINOv2 and VGGT name its parts; with ``rotate`` it turns queries and keys by place."""

    def __init__(self, dim: int, heads: int, *, rotate: bool = False, scaled: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.heads, self.rotate = heads, rotate
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if rotate:
            self.attn.q_norm, self.attn.k_norm = nn.LayerNorm(dim // heads), nn.LayerNorm(dim // heads)
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        if scaled:
            for name in ("ls1", "ls2"):
                scale = nn.Module()
                scale.gamma = nn.Parameter(torch.ones(dim))
                setattr(self, name, scale)

    def forward(self, x: Tensor, places: list[tuple[int, int]] | None = None) -> Tensor:
        batch, tokens, dim = x.shape
        width = dim // self.heads
        q, k, v = (part.view(batch, tokens, self.heads, width) for part in self.attn.qkv(self.norm1(x)).chunk(3, -1))
        if self.rotate:
            assert places is not None
            q, k = self.attn.q_norm(q), self.attn.k_norm(k)
            q, k = (torch.stack([turned(part[:, t], p) for t, p in enumerate(places)], 1) for part in (q, k))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * width**-0.5
        attended = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).reshape(batch, tokens, dim)
        one, two = (getattr(self, name).gamma if hasattr(self, name) else 1.0 for name in ("ls1", "ls2"))
        x = x + one * self.attn.proj(attended)
        return x + two * self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


def turned(x: Tensor, place: tuple[int, int]) -> Tensor:
    """Heads (..., D) of one token turned by its row and column, plane by plane, as complex numbers."""
    halves = []
    for half, at in zip(x.chunk(2, -1), place, strict=True):
        planes = half.shape[-1] // 2
        angles = at * 100.0 ** (-torch.arange(planes) / planes)
        rotated = torch.complex(half[..., :planes], half[..., planes:]) * torch.polar(torch.ones(planes), angles)
        halves.append(torch.cat([rotated.real, rotated.imag], -1))
    return torch.cat(halves, -1)


class MaskedAutoencoderEncoder(nn.Module):
    """A vision transformer with the names of a masked autoencoder; the class token after the norm."""

    def __init__(self, dim: int, depth: int, heads: int, patches: int) -> None:
        super().__init__()
        self.cls_token, self.pos_embed = (
            nn.Parameter(torch.ones(1, 1, dim)),
            nn.Parameter(torch.ones(1, patches + 1, dim)),
        )
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, 16, 16)
        self.blocks = nn.ModuleList(Branches(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class Aggregator(nn.Module):
    """VGGT's aggregator on one view, with its names and positions for images of three by three patches."""

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        self.patch_embed = dino = nn.Module()
        dino.cls_token, dino.pos_embed = nn.Parameter(torch.ones(1, 1, dim)), nn.Parameter(torch.ones(1, 10, dim))
        dino.register_tokens = nn.Parameter(torch.ones(1, config.registers, dim))
        dino.mask_token = nn.Parameter(torch.ones(1, dim))
        dino.patch_embed = nn.Module()
        dino.patch_embed.proj = nn.Conv2d(3, dim, 14, 14)
        dino.blocks = nn.ModuleList(Branches(dim, config.heads, scaled=True) for _ in range(config.backbone_depth))
        dino.norm = nn.LayerNorm(dim, eps=1e-6)
        self.camera_token = nn.Parameter(torch.ones(1, 2, 1, dim))
        self.register_token = nn.Parameter(torch.ones(1, 2, config.registers, dim))
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(Branches(dim, config.heads, rotate=True, scaled=True, eps=1e-5) for _ in range(config.depth))
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        dino, special = self.patch_embed, 1 + self.config.registers
        places = dino.pos_embed[:, 1:].view(1, 3, 3, -1).permute(0, 3, 1, 2)
        places = F.interpolate(places, (2, 2), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
        patches = dino.patch_embed.proj(x).flatten(2).transpose(1, 2) + places
        summary = dino.cls_token + dino.pos_embed[:, :1]
        x = torch.cat([t.expand(len(x), -1, -1) for t in (summary, dino.register_tokens)] + [patches], 1)
        for block in dino.blocks:
            x = block(x)
        patches = dino.norm(x)[:, special:]
        first = torch.cat([self.camera_token[:, 0], self.register_token[:, 0]], 1)
        x = torch.cat([first.expand(len(x), -1, -1), patches], 1)
        at = [(0, 0)] * special + [(1, 1), (1, 2), (2, 1), (2, 2)]
        for frame, over_all in zip(self.frame_blocks, self.global_blocks, strict=True):
            within = frame(x, at)
            x = over_all(within, at)
        return torch.cat([within, x], -1)[:, special:].mean(1)


@pytest.mark.parametrize("name", list(SMALL))
def test_published_weights_load_and_compute_what_the_reference_does(name: str, tmp_path: Path) -> None:
    with torch.no_grad():
        weights, reference = published(name)
        encoder = built(name)
        before = encoder(images(encoder.config.pixels)).pooled
        torch.save(weights, tmp_path / "published.pt")
        load_published(encoder, tmp_path / "published.pt")
        seen = images(encoder.config.pixels)
        feature = encoder(seen).pooled
        normalised = (seen.permute(0, 3, 1, 2) / 255.0 - encoder.mean) / encoder.std
        expected = reference.eval()(normalised)
    assert feature.shape == (2, encoder.feature_dim)
    torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(feature, before)
    assert not torch.allclose(feature[0], feature[1], atol=1e-5)


@pytest.mark.parametrize("name", list(SMALL))
def test_weights_that_do_not_fit_are_named_and_nothing_is_changed(name: str, tmp_path: Path) -> None:
    with torch.no_grad():
        weights, _ = published(name)
    state = next((v for v in weights.values() if isinstance(v, dict)), weights)
    encoder = built(name)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    gone = next(key for key in state if key.endswith(("norm.weight", "layer4.0.bn3.weight", "visual.ln_post.weight")))
    del state[gone]
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "weights.safetensors")
    with pytest.raises(PublishedWeightsError, match=rf"weight {gone}: missing; expected .*https://"):
        load_published(encoder, tmp_path / "weights.safetensors")
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())


def test_missing_weights_name_the_file_its_place_its_licence_and_the_option() -> None:
    wanted = {
        "clip": r"open_clip_model.safetensors .*\(MIT\)",
        "r3m": r"model.pt .*facebookresearch/r3m \(MIT\)",
        "vc1": r"vc1_vitb.pth .*CC-BY-NC",
        "spa": r"spa-l.safetensors .*\(MIT\)",
        "vggt": r"facebook/VGGT-1B \(not for commercial use\)",
    }
    for name, text in wanted.items():
        with pytest.raises(PublishedWeightsError, match=rf"--init-from FILE, expected .*{text}"):
            raise missing_weights(built(name))


def test_a_file_that_names_foreign_classes_is_not_opened(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": argparse.Namespace(lr=1.0)}, tmp_path / "vc1.pth")
    with pytest.raises(PublishedWeightsError, match=r"cannot be read as weights .*https://"):
        load_published(built("vc1"), tmp_path / "vc1.pth")


def test_an_image_of_another_size_or_type_is_refused() -> None:
    encoder = built("vc1")
    with pytest.raises(ValueError, match=r"image: expected uint8 RGB of shape \(B, 32, 32, 3\), got torch.uint8"):
        encoder(images(64))
    with pytest.raises(ValueError, match=r"got torch.float32"):
        encoder(images(32).float())


def test_tokens_without_a_place_do_not_turn() -> None:
    turn = rotary_turn(3, 5, 16)
    assert turn.shape == (2, 14, 16)
    torch.testing.assert_close(turn[0, :5], torch.ones(5, 16))
    torch.testing.assert_close(turn[1, :5], torch.zeros(5, 16))


def test_a_policy_looks_at_images_now_and_before() -> None:
    head = PolicyHeadConfig(history=2, hidden=(8,), width=8, norm="layer")
    policy = build_policy(PolicyConfig(encoder=SMALL["vc1"], head=head)).eval()
    seen = images(32, 6).view(3, 2, 32, 32, 3)
    state = torch.zeros(3, 2, 10)
    action = policy(seen, state)
    assert action.shape == (3, 7)
    assert not torch.allclose(action, policy(seen.flip(1), state))


def test_the_published_shapes_and_json() -> None:
    dims = {"clip": 512, "r3m": 2048, "vc1": 768, "vc1_large": 1024, "spa": 1024, "spa_base": 768, "vggt": 2048}
    for name, dim in dims.items():
        config = PolicyConfig(encoder=PRESETS[name])
        assert PolicyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert image_pixels(PRESETS[name]) == 224
        # On the meta device nothing is allocated: VGGT alone would take 3.6 GB.
        with torch.device("meta"):
            encoder = build_encoder(PRESETS[name])
        assert encoder is not None
        assert encoder.feature_dim == dim
    assert image_pixels(PRESETS["pointnet"]) == image_pixels(None) == 0


def test_shapes_that_cannot_be_are_named() -> None:
    for config, changes, message in (
        (SMALL["vc1"], {"heads": 5}, r"encoder.heads, encoder.patch"),
        (SMALL["vggt"], {"pixels": 30}, r"encoder.heads, encoder.patch"),
        (SMALL["r3m"], {"channels": (4,)}, r"encoder.blocks, encoder.channels"),
        (SMALL["clip"], {"depth": 0}, r"encoder.depth: expected a positive number, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config, **changes)


def test_every_weight_of_the_aggregator_is_used() -> None:
    encoder = built("vggt")
    assert isinstance(encoder, VGGT)
    encoder(images(28)).pooled.square().sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert not idle
