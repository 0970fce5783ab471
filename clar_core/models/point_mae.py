"""The weights of published Point-MAE checkpoints by our names.

A Point-MAE checkpoint (Pang et al., ECCV 2022) is a dict with the key ``base_model``. Its encoder has no class token,
and its convolutions of one point are our linear layers: their last axis is dropped.
"""

from __future__ import annotations

from torch import Tensor

_PREFIXES = {
    "MAE_encoder.encoder.": "encoder.patch_embed.",
    "MAE_encoder.pos_embed.": "encoder.pos_embed.",
    "MAE_encoder.blocks.": "encoder.blocks.",
    "MAE_encoder.norm.": "encoder.norm.",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed.": "decoder.pos_embed.",
    "MAE_decoder.blocks.": "decoder.blocks.blocks.",
    "MAE_decoder.norm.": "decoder.norm.",
    "increase_dim.0.": "decoder.head.",
}


def convert_point_mae(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names and shapes of the weights of Point-MAE; names that it has beyond those are left out."""
    converted = {}
    for key, value in state.items():
        name = key.removeprefix("module.")
        for theirs, ours in _PREFIXES.items():
            if name.startswith(theirs):
                converted[ours + name.removeprefix(theirs)] = (
                    value.squeeze(-1) if value.ndim == 3 and _is_conv(name) else value
                )
                break
    return converted


def _is_conv(name: str) -> bool:
    return "_conv." in name or name.startswith("increase_dim.")
