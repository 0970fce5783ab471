import pytest
import torch

from clar_core.models.encoder import PointEncoder, PointEncoderConfig
from clar_core.models.masked_autoencoder import DecoderConfig, MaskedDecoder, hidden_patches, reconstruct, split

TINY = PointEncoderConfig(dim=24, depth=2, heads=3, centres=8, neighbours=6, patch_widths=(8, 12, 16), drop_path=0.0)


def parts() -> tuple[PointEncoder, MaskedDecoder]:
    torch.manual_seed(0)
    decoder = MaskedDecoder(dim=24, neighbours=6, config=DecoderConfig(depth=2, heads=3, drop_path=0.0))
    return PointEncoder(TINY).eval(), decoder.eval()


def mask() -> torch.Tensor:
    rows = torch.zeros(2, 8, dtype=torch.bool)
    rows[0, [1, 3, 4, 6, 7]] = True
    rows[1, [0, 1, 2, 5, 6]] = True
    return rows


def test_hidden_patches_do_not_reach_the_encoder() -> None:
    encoder, decoder = parts()
    points = torch.rand(2, 64, 3) * 2 - 1
    centres, patches = encoder.group(points, fps_ordered=True)
    tokens = encoder.patch_embed(patches)
    predicted, target = reconstruct(encoder, decoder, tokens, centres, patches, mask())
    assert predicted.shape == target.shape == (2, 5, 6, 3)
    disturbed = torch.where(mask()[:, :, None], torch.randn_like(tokens), tokens)
    again, _ = reconstruct(encoder, decoder, disturbed, centres, patches, mask())
    torch.testing.assert_close(predicted, again)


def test_targets_are_the_hidden_patches_in_order() -> None:
    encoder, decoder = parts()
    points = torch.rand(2, 64, 3)
    centres, patches = encoder.group(points, fps_ordered=True)
    _, target = reconstruct(encoder, decoder, encoder.patch_embed(patches), centres, patches, mask())
    torch.testing.assert_close(target[1], patches[1, [0, 1, 2, 5, 6]])


def test_splitting_keeps_the_order_of_the_patches() -> None:
    values = torch.arange(16.0).view(2, 8, 1)
    visible, hidden = split(values, mask())
    assert visible[0, :, 0].tolist() == [0, 2, 5]
    assert hidden[0, :, 0].tolist() == [1, 3, 4, 6, 7]


@pytest.mark.parametrize(("ratio", "expected"), [(0.6, 38), (0.8, 51), (0.001, 1), (0.999, 63)])
def test_a_mask_hides_some_patches_and_never_all(ratio: float, expected: int) -> None:
    assert hidden_patches(64, ratio) == expected
