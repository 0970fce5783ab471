"""Policies that look at the colour image of a step: training, caching, what they refuse, and acting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, collate, fit_normalizer
from clar_core.data.store import StoreError
from clar_core.evaluation.trials import PolicyActor
from clar_core.models import registry
from clar_core.models.baselines.published import PublishedWeightsError
from clar_core.models.registry import PolicyConfig, build_encoder, build_policy
from clar_core.runtime import PolicyRuntime
from clar_core.simulation.collect import CollectConfig, collect, rollout
from clar_core.simulation.env import CellEnv, EnvConfig, Observation
from clar_core.training.checkpoints import load_checkpoint, save_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.samples import FeatureSamples
from tests.core.data.demonstrations import episode, picture, write_store
from tests.core.training.policies import TINY_IMAGES, image_checkpoint

SIZE = TINY_IMAGES.pixels


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PRESETS, "tiny_images", TINY_IMAGES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("images") / "store", image_size=SIZE)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder's published weights, as VC-1's file keeps them."""
    torch.manual_seed(7)
    encoder = build_encoder(TINY_IMAGES)
    assert encoder is not None
    path = tmp_path_factory.mktemp("weights") / "vc1.pth"
    torch.save({"model": dict(encoder.vit.state_dict())}, path)  # type: ignore[union-attr]
    return path


def config(directory: Path, store: Path, **changes: Any) -> ImitationConfig:
    values: dict[str, Any] = {
        "stores": (store,),
        "output": directory / "run",
        "encoder": "tiny_images",
        "samples": 96,
        "batch_size": 8,
        "validate_every": 48,
        "save_every": 96,
        "validation_fraction": 0.2,
        "device": "cpu",
        **changes,
    }
    return ImitationConfig(**values)


def test_a_frozen_encoder_with_published_weights_trains_a_head_that_acts_on_images(
    tmp_path: Path, store: Path, weights: Path
) -> None:
    run = config(tmp_path, store, init_from=weights, encoder_training="frozen", samples=3200, learning_rate=3e-3)
    best = train_imitation(run)
    losses = [json.loads(line)["train/loss"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    text = (tmp_path / "run/README.md").read_text()
    assert "colour images of 32 pixels" in text
    assert "policy.launch.py" not in text, "the live stack refuses it"
    kept = load_checkpoint(best).policy.state_dict()
    published = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(kept[f"encoder.vit.{name}"], value) for name, value in published.items())
    policy = PolicyRuntime.load(best, device="cpu", dtype="float32")
    assert policy.image_size == SIZE
    policy.warm_up()
    step = episode(0).steps[0]
    action = policy.act(None, step.state, image=picture(step, SIZE)).action.to_array()
    assert np.isfinite(action).all()
    other = policy.act(None, step.state, image=np.zeros((SIZE, SIZE, 3), np.uint8)).action.to_array()
    assert not np.allclose(action, other), "it looks at the image"


@pytest.mark.parametrize("history", [1, 2])
def test_an_encoder_of_images_can_learn_too(tmp_path: Path, store: Path, weights: Path, history: int) -> None:
    run = config(tmp_path, store, init_from=weights, encoder_training="finetune", samples=32, history=history)
    kept = load_checkpoint(train_imitation(run)).policy.state_dict()
    published = torch.load(weights, weights_only=True)["model"]
    assert not torch.equal(kept["encoder.vit.norm.weight"], published["norm.weight"])


def test_features_of_images_are_made_once_for_all_views(store: Path, tmp_path: Path) -> None:
    settings = config(tmp_path, store, encoder_training="frozen_random", cached_views=3)
    data = Demonstrations.load(settings.stores, image_size=SIZE)
    still = AugmentationConfig(state_noise=0.1).still()
    normalizer = fit_normalizer(data, range(5), still, 0)
    varied = ImitationDataset(data, range(5), normalizer, still, sight="image")
    recorded = ImitationDataset(data, [5], normalizer, None, sight="image")
    policy = build_policy(PolicyConfig(encoder=TINY_IMAGES)).eval()
    encoded: list[int] = []
    assert policy.encoder is not None
    policy.encoder.register_forward_hook(lambda _, inputs, __: encoded.append(len(inputs[0])))
    samples = FeatureSamples(varied, recorded, settings, policy)
    assert sum(encoded) == len(varied) + len(recorded)
    (batch,) = samples.held_out()
    whole = collate([recorded[SampleKey(0, 0, row)] for row in range(len(recorded))])
    assert whole.seen.dtype == torch.uint8
    with torch.no_grad():
        expected = policy(whole.seen, whole.state)
        torch.testing.assert_close(policy.decide(samples.feature(policy, batch), batch.state), expected)
    epochs = list(samples.batches(0, 2 * (len(varied) // settings.batch_size)))
    states = torch.cat([batch.state for batch in epochs])
    assert len(torch.unique(states, dim=0)) > len(varied), "what comes with an image is varied all the same"


def test_samples_of_images_are_not_moved(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    train_imitation(config(tmp_path, store, init_from=weights, encoder_training="frozen", samples=16))
    assert "samples are not moved" in capsys.readouterr().out
    data = Demonstrations.load([store], image_size=SIZE)
    normalizer = fit_normalizer(data, range(5), None, 0)
    with pytest.raises(ValueError, match="images cannot be moved"):
        ImitationDataset(data, range(5), normalizer, AugmentationConfig(), sight="image")


def test_a_store_without_images_is_refused_with_the_option_that_keeps_them(tmp_path: Path, weights: Path) -> None:
    bare = write_store(tmp_path / "bare")
    with pytest.raises(StoreError, match=rf"bare: holds clouds and no images, .* --image-size {SIZE}"):
        train_imitation(config(tmp_path, bare, init_from=weights, encoder_training="frozen"))
    coarse = write_store(tmp_path / "coarse", image_size=16)
    with pytest.raises(StoreError, match=rf"holds images of 16 pixels, .* --image-size {SIZE}"):
        train_imitation(config(tmp_path, coarse, init_from=weights, encoder_training="frozen"))


def test_an_encoder_without_its_weights_is_refused_and_the_control_is_not(tmp_path: Path, store: Path) -> None:
    with pytest.raises(PublishedWeightsError, match=r"--init-from FILE, expected VC-1 .*frozen_random"):
        train_imitation(config(tmp_path, store))
    with pytest.raises(PublishedWeightsError, match=r"no file .*vc1_vitb.pth"):
        train_imitation(config(tmp_path, store, init_from=tmp_path / "vc1.pth", encoder_training="frozen"))
    train_imitation(config(tmp_path, store, encoder_training="frozen_random", samples=16))


def test_a_policy_without_an_image_says_what_it_needs(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, image_checkpoint())
    policy = PolicyRuntime.load(tmp_path, device="cpu", dtype="float32")
    step = episode(0).steps[0]
    with pytest.raises(ValueError, match=r"image: this policy sees colour images, .*\(32, 32, 3\), got none"):
        policy.act(step.cloud, step.state)
    with pytest.raises(ValueError, match=r"got uint8 \(16, 16, 3\)"):
        policy.act(None, step.state, image=np.zeros((16, 16, 3), np.uint8))


def test_corrections_of_a_policy_that_sees_images_need_images(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "policy", image_checkpoint())
    with pytest.raises(ValueError, match=r"image_size: .* expected --image-size 32, got 0"):
        collect(CollectConfig(policy=tmp_path / "policy", directory=tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_the_cell_shows_a_policy_its_image_and_records_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, image_checkpoint())
    actor = PolicyActor(tmp_path)
    env = CellEnv(EnvConfig(image_size=actor.runtime.image_size))
    actor.begin("")

    def act(observation: Observation) -> np.ndarray:
        env._limit = 3  # three steps show it; the task's own limit takes twenty seconds
        return actor.act(observation)

    driven = rollout(env, 3, act=act)
    env.close()
    assert len(driven) == 3
    for step in driven.steps:
        assert step.image is not None
        assert step.image.image.shape == (SIZE, SIZE, 3)
        assert step.image.image.std() > 10, "the cell is in the picture"
