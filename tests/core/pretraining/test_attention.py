from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.cli.attention import main as attention_command
from clar_core.cli.probe import main as probe_command
from clar_core.data.views import Views
from clar_core.models.clar import Clar, ClarConfig, LossConfig
from clar_core.training.pretrain_checkpoints import Pretrained, save_pretrained
from clar_core.visualization.attention import attend, attention_figure, class_attention
from tests.core.pretraining.made_views import SIZE, SPEC, make_views
from tests.core.pretraining.tiny import tiny_config


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_views(tmp_path_factory.mktemp("views") / "set", episodes=20)


ALL_TERMS = LossConfig()


def model(loss: LossConfig = ALL_TERMS) -> Clar:
    torch.manual_seed(0)
    return Clar(ClarConfig(encoder=tiny_config(Path(), Path()).encoder, loss=loss, map_dim=8)).eval()


def test_attention_is_that_of_the_last_block() -> None:
    encoder = model().encoder
    points = torch.rand(2, 128, 3)
    found = class_attention(encoder, points)
    assert found.shape == (2, 16)
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    last = encoder.blocks.blocks[-1]
    seen: list[torch.Tensor] = []
    last.norm1.register_forward_hook(lambda _m, _i, out: seen.append(out))
    encoder(points)
    query, key, _ = last.attn.qkv(seen[0]).view(2, 17, 3, 3, 8).permute(2, 0, 3, 1, 4).unbind(0)
    weights = torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1)[:, :, 0, 1:].mean(1)
    torch.testing.assert_close(found, weights / weights.sum(1, keepdim=True))


def test_sampled_places_surround_the_projected_centres(views: Path) -> None:
    attention = attend(model(), Views(views), 3)
    assert attention.locations.shape == (16, 8, 4, 2)
    np.testing.assert_allclose(attention.weights.sum(-1), 1.0, atol=1e-5)
    distance = np.linalg.norm(attention.locations - attention.reference[:, None, None], axis=-1)
    assert distance.max() < 3 * 2**0.5 * SIZE / 14 + 1e-3
    assert attention.valid[attention.strongest()].all()
    assert attention.point_heat.min() == 0
    assert attention.point_heat.max() == 1
    assert "cube" in attention.sentence
    assert len(attention_figure(attention).axes) == 3


def test_the_command_draws_pictures_and_a_recording(views: Path, tmp_path: Path) -> None:
    clar = model()
    save_pretrained(tmp_path / "checkpoint", Pretrained(clar, clar.config, SPEC))
    arguments = [str(tmp_path / "checkpoint"), "--views", str(views), "--output", str(tmp_path / "out")]
    assert attention_command([*arguments, "--episodes", "0", "5"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["attention.rrd", "episode_0.png", "episode_5.png"]
    assert (tmp_path / "out/attention.rrd").stat().st_size > 5_000
    assert attention_command([*arguments, "--episodes", "99"]) == 1


def test_a_model_without_local_term_shows_attention_alone(views: Path) -> None:
    attention = attend(model(LossConfig(local=False)), Views(views), 0)
    assert attention.locations.size == 0
    assert len(attention_figure(attention).axes) == 3


def test_the_probe_command_compares_with_random_initialisation(
    views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clar = model(LossConfig(local=False))
    save_pretrained(tmp_path / "run/best", Pretrained(clar, clar.config, SPEC))
    arguments = [str(tmp_path / "run/best"), "--views", str(views), "--output", str(tmp_path / "out")]
    assert probe_command(arguments) == 0
    out = capsys.readouterr().out
    assert "| random |" in out
    assert "| run (mae + image + text) |" in out
    assert probe_command([]) == 1
    assert probe_command([str(tmp_path / "nothing")]) == 1
    assert "there is no checkpoint directory here" in capsys.readouterr().err
