from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clar_core.models import registry
from clar_core.models.clar import Clar, ClarConfig, LossConfig
from clar_core.training.checkpoint_files import CheckpointError
from clar_core.training.checkpoints import load_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.pretrain_checkpoints import Pretrained, save_pretrained
from tests.core.data.demonstrations import SPEC, write_store
from tests.core.training.policies import TINY

LOSS = LossConfig(image=False, text=False, local=False)


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.PRESETS, "tiny", TINY)
    write_store(tmp_path / "store")
    torch.manual_seed(3)
    config = ClarConfig(encoder=TINY, loss=LOSS)
    save_pretrained(tmp_path / "pretrained", Pretrained(Clar(config), config, SPEC))
    return tmp_path / "pretrained"


def run(pretrained: Path) -> ImitationConfig:
    return ImitationConfig(
        stores=(pretrained.parent / "store",),
        output=pretrained.parent / "policy",
        encoder="tiny",
        init_from=pretrained,
        init_encoder_only=True,
        encoder_training="frozen",
        samples=16,
        batch_size=8,
        device="cpu",
    )


def test_a_policy_takes_its_encoder_from_pretraining(pretrained: Path) -> None:
    best = load_checkpoint(train_imitation(run(pretrained)))
    torch.manual_seed(3)
    source = Clar(ClarConfig(encoder=TINY, loss=LOSS))
    assert best.policy.encoder is not None
    for name, value in best.policy.encoder.named_parameters():
        torch.testing.assert_close(value, dict(source.encoder.named_parameters())[name])


def test_another_encoder_or_observation_is_refused_by_field(pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PRESETS, "tiny", replace(TINY, neighbours=5))
    with pytest.raises(CheckpointError, match=r"model.encoder.neighbours is 6, the run asks for 5"):
        train_imitation(run(pretrained))
    monkeypatch.setitem(registry.PRESETS, "tiny", TINY)
    config = ClarConfig(encoder=TINY, loss=LOSS)
    moved = replace(SPEC, crop_max_m=(0.9, 0.9, 0.9))
    save_pretrained(pretrained, Pretrained(Clar(config), config, moved))
    with pytest.raises(CheckpointError, match="crop_max_m"):
        train_imitation(run(pretrained))
