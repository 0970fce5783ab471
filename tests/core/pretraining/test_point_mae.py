from pathlib import Path

import pytest
import torch
from torch import Tensor

from clar_core.models.clar import Clar, ClarConfig, LossConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.masked_autoencoder import DecoderConfig
from clar_core.training.pretrain_start import ImportedWeightsError, initialise

ENCODER = PointEncoderConfig(dim=24, depth=2, heads=3, centres=8, neighbours=6, patch_widths=(8, 12, 16))
CONFIG = ClarConfig(
    encoder=ENCODER, decoder=DecoderConfig(depth=1, heads=3), loss=LossConfig(image=False, text=False, local=False)
)


def published(depth: int = 2) -> dict[str, dict[str, Tensor]]:
    """Weights by the names and shapes of Point-MAE's pre-training checkpoints."""
    shapes: dict[str, tuple[int, ...]] = {}
    dims = {"first_conv": ((3, 8), 8, (8, 12)), "second_conv": ((24, 16), 16, (16, 24))}
    for conv, (first, norm, second) in dims.items():
        for index, (inputs, outputs) in ((0, first), (3, second)):
            shapes[f"MAE_encoder.encoder.{conv}.{index}.weight"] = (outputs, inputs, 1)
            shapes[f"MAE_encoder.encoder.{conv}.{index}.bias"] = (outputs,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"MAE_encoder.encoder.{conv}.1.{name}"] = (norm,)
        shapes[f"MAE_encoder.encoder.{conv}.1.num_batches_tracked"] = ()
    for prefix in ("MAE_encoder.pos_embed", "decoder_pos_embed"):
        shapes |= {f"{prefix}.0.weight": (128, 3), f"{prefix}.0.bias": (128,)}
        shapes |= {f"{prefix}.2.weight": (24, 128), f"{prefix}.2.bias": (24,)}
    for prefix, count in (("MAE_encoder.blocks", depth), ("MAE_decoder", 1)):
        for i in range(count):
            block = f"{prefix}.blocks.{i}"
            shapes |= {f"{block}.norm{n}.{part}": (24,) for n in (1, 2) for part in ("weight", "bias")}
            shapes |= {f"{block}.attn.qkv.weight": (72, 24), f"{block}.attn.proj.weight": (24, 24)}
            shapes |= {f"{block}.attn.proj.bias": (24,), f"{block}.mlp.fc1.weight": (96, 24)}
            shapes |= {f"{block}.mlp.fc1.bias": (96,), f"{block}.mlp.fc2.weight": (24, 96)}
            shapes |= {f"{block}.mlp.fc2.bias": (24,)}
    for prefix in ("MAE_encoder.norm", "MAE_decoder.norm"):
        shapes |= {f"{prefix}.weight": (24,), f"{prefix}.bias": (24,)}
    shapes |= {"mask_token": (1, 1, 24), "increase_dim.0.weight": (18, 24, 1), "increase_dim.0.bias": (18,)}
    generator = torch.Generator().manual_seed(0)
    return {"base_model": {f"module.{k}": torch.rand(s, generator=generator) for k, s in shapes.items()}}


def test_a_published_checkpoint_fills_everything_but_the_class_token(tmp_path: Path) -> None:
    content = published()
    torch.save(content, tmp_path / "pretrain.pth")
    model = Clar(CONFIG)
    kept = initialise(model, tmp_path / "pretrain.pth")
    assert set(kept) == {"encoder.cls_token", "encoder.cls_pos"}
    theirs = content["base_model"]
    torch.testing.assert_close(
        model.encoder.patch_embed.second_conv[0].weight,
        theirs["module.MAE_encoder.encoder.second_conv.0.weight"][..., 0],
    )
    assert model.decoder is not None
    torch.testing.assert_close(model.decoder.head.weight, theirs["module.increase_dim.0.weight"][..., 0])


def test_imported_weights_compute_what_the_published_network_computes(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "pretrain.pth")
    model = Clar(CONFIG).eval()
    initialise(model, tmp_path / "pretrain.pth")
    theirs = {k.removeprefix("module.MAE_encoder.encoder."): v for k, v in published()["base_model"].items()}
    patches = torch.rand(2, 8, 6, 3)
    rows = patches.view(16, 6, 3).transpose(1, 2)

    def conv(name: str, x: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(x, theirs[f"{name}.weight"], theirs[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        parts = (theirs[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return torch.relu(torch.nn.functional.batch_norm(x, *parts))

    local = conv("first_conv.3", norm("first_conv.1", conv("first_conv.0", rows)))
    joined = torch.cat([local.amax(2, keepdim=True).expand(-1, -1, 6), local], dim=1)
    expected = conv("second_conv.3", norm("second_conv.1", conv("second_conv.0", joined))).amax(2)
    torch.testing.assert_close(model.encoder.patch_embed(patches), expected.view(2, 8, 24), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_imported_says_why(tmp_path: Path) -> None:
    path = tmp_path / "pretrain.pth"
    with pytest.raises(ImportedWeightsError, match="there is no such file"):
        initialise(Clar(CONFIG), path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ImportedWeightsError, match="expected a dict with the key 'base_model'"):
        initialise(Clar(CONFIG), path)
    torch.save({"base_model": {"module.head": torch.zeros(2)}}, path)
    with pytest.raises(ImportedWeightsError, match=r"holds no weight MAE_encoder.blocks"):
        initialise(Clar(CONFIG), path)
    torch.save(published(depth=1), path)
    with pytest.raises(ImportedWeightsError, match=r"encoder.blocks.blocks.1.*missing"):
        initialise(Clar(CONFIG), path)
    torch.save(published(), path)
    wider = ClarConfig(encoder=PointEncoderConfig(dim=48, depth=2, heads=3), loss=CONFIG.loss)
    with pytest.raises(ImportedWeightsError, match=r"expected shape .* found"):
        initialise(Clar(wider), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImportedWeightsError, match="cannot be read as weights"):
        initialise(Clar(CONFIG), path)
