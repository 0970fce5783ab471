"""Policies whose action is the next keyframe's pose: stores, units, training, checkpoints and who refuses them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from clar_core.control.spaces import KEYFRAME, TCP_DELTA
from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, fit_normalizer
from clar_core.data.episode import Episode, EpisodeError
from clar_core.data.merge import merge
from clar_core.data.store import Store, StoreError, StoreWriter
from clar_core.evaluation.trials import PolicyActor
from clar_core.geometry.poses import rotation_to_6d
from clar_core.keyframe_runtime import KeyframeRuntime
from clar_core.models import registry
from clar_core.runtime import PolicyOutputError, PolicyRuntime
from clar_core.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.imitation import train_imitation
from clar_core.training.loop import TrainingError
from clar_core.training.normalizer import Normalizer
from tests.core.data.demonstrations import POINTS, SPEC, episode, write_store
from tests.core.data.keyframed import keyframe_episode, write_keyframes
from tests.core.training.policies import TINY, tiny_checkpoint
from tests.core.training.test_checkpoints import edit


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PRESETS, "tiny", TINY)


def config(directory: Path, **changes: Any) -> ImitationConfig:
    store = directory / "store"
    if not store.exists():
        write_keyframes(store)
    values: dict[str, Any] = {
        "stores": (store,),
        "output": directory / "run",
        "encoder": "tiny",
        "samples": 64,
        "batch_size": 8,
        "validation_fraction": 0.2,
        "device": "cpu",
    }
    return ImitationConfig(**values | changes)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return train_imitation(config(tmp_path))


def test_a_store_names_its_action_space_and_takes_no_other(tmp_path: Path) -> None:
    store = Store(write_keyframes(tmp_path / "keyframes"))
    assert store.action_space == KEYFRAME
    np.testing.assert_array_equal(store.read("action")[:3], [s.action for s in keyframe_episode(0).steps])
    assert Store(write_store(tmp_path / "steps")).action_space == TCP_DELTA
    with pytest.raises(StoreError, match="action space is keyframe_pose_and_gripper in this store, asked for tcp_del"):
        StoreWriter(tmp_path / "keyframes", SPEC, points_per_cloud=POINTS)
    writer = StoreWriter(tmp_path / "steps", SPEC, points_per_cloud=POINTS)
    with pytest.raises(StoreError, match=r"holds actions of tcp_delta_pose.*the episode's are of keyframe_pose"):
        writer.append(keyframe_episode(0))
    with pytest.raises(StoreError, match="holds actions of tcp_delta_pose"):
        Demonstrations.load([tmp_path / "keyframes", tmp_path / "steps"])


def test_a_store_of_an_earlier_version_holds_steps(tmp_path: Path) -> None:
    group = zarr.open_group(write_store(tmp_path / "steps"), mode="r+")
    del group.attrs["action_space"]
    assert Store(tmp_path / "steps").action_space == TCP_DELTA
    group.attrs["action_space"] = KEYFRAME.name
    with pytest.raises(StoreError, match=r"'action': expected rows of 10 numbers .*, found \(7,\)"):
        Store(tmp_path / "steps")


def test_an_episode_is_of_one_space() -> None:
    with pytest.raises(EpisodeError, match="step 0: action: expected 10 numbers of keyframe_pose_and_gripper, got 7"):
        Episode("reach", "go", episode(0).steps, action_space=KEYFRAME)


def test_merged_stores_keep_their_space(tmp_path: Path) -> None:
    merge([write_keyframes(tmp_path / "a"), write_keyframes(tmp_path / "b")], tmp_path / "both")
    assert (Store(tmp_path / "both").action_space, len(Store(tmp_path / "both").episodes)) == (KEYFRAME, 12)


def test_positions_are_normalised_and_rotation_columns_stay_as_they_are() -> None:
    steps = [step for seed in range(20) for step in keyframe_episode(seed).steps]
    states, actions = np.stack([s.state for s in steps]), np.stack([s.action for s in steps])
    normalizer = Normalizer.fit(states, actions, KEYFRAME)
    network = normalizer.normalise_action(actions)
    np.testing.assert_allclose(network[:, :3].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(network[:, :3].std(0), 1, atol=1e-3)
    np.testing.assert_array_equal(network[:, 3:], actions[:, 3:])
    network[:, 9] = np.where(actions[:, 9] > 0.5, 30.0, -30.0)
    np.testing.assert_allclose(normalizer.denormalise_action(network), actions, atol=1e-6)
    again = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    np.testing.assert_array_equal(again.action_std, normalizer.action_std)


def test_augmented_samples_keep_the_pose_where_it_is_in_the_cloud(tmp_path: Path) -> None:
    data = Demonstrations.load([write_keyframes(tmp_path / "s")])
    still, moving = (
        AugmentationConfig(jitter_m=0, dropout=0, max_lost=0.5, **motion)
        for motion in ({"yaw_rad": 0, "translation_xy_m": 0, "translation_z_m": 0}, {})
    )
    normalizer = fit_normalizer(data, range(6), None, 0)
    for row in range(18):
        relative = []
        for augmentation in (still, moving):
            dataset = ImitationDataset(data, range(6), normalizer, augmentation)
            points, _, action, _, _ = dataset[SampleKey(0, 5, row)]
            pose = normalizer.denormalise_action(action)
            offsets = SPEC.denormalise(points) - pose[:3]
            columns = pose[3:9].reshape(2, 3)
            relative.append((np.sort(np.linalg.norm(offsets, axis=1)), columns, offsets.mean(0) @ columns.T, pose[:3]))
        # Seen from the pose, the middle of the cloud stays at its coordinates along the pose's own axes.
        np.testing.assert_allclose(relative[1][2], relative[0][2], atol=4e-3)
        assert np.linalg.norm(relative[1][3] - relative[0][3]) > 1e-3
        assert np.abs(relative[1][1] - relative[0][1]).max() > 1e-4


def test_a_gripper_that_is_to_change_is_marked(tmp_path: Path) -> None:
    data = Demonstrations.load([write_keyframes(tmp_path / "s", range(1))])
    dataset = ImitationDataset(data, [0], fit_normalizer(data, [0], None, 0), None)
    assert [dataset[SampleKey(0, 0, row)][4] for row in range(3)] == [False, True, True]


def test_training_learns_keyframes_and_reports_millimetres_and_angles(tmp_path: Path) -> None:
    run = config(
        tmp_path, learning_rate=3e-3, encoder="dp3", samples=3200, batch_size=16, validate_every=400, augment=False
    )
    write_keyframes(tmp_path / "many", range(24))
    best = train_imitation(replace(run, stores=(tmp_path / "many",)))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    assert last["validation/translation_mm"] < 0.7 * first["validation/translation_mm"]
    assert last["validation/translation_mm"] < 35
    assert last["validation/rotation_mrad"] < 150
    assert load_checkpoint(best).action_space == KEYFRAME
    assert "clar eval rlbench" in (tmp_path / "run/README.md").read_text()


def test_a_keyframe_policy_answers_with_a_rigid_pose(trained: Path) -> None:
    step = keyframe_episode(0).steps[0]
    runtime = KeyframeRuntime.load(trained, device="cpu", dtype="float32")
    answer = runtime.next_keyframe(step.cloud, step.state)
    rotation = answer.T_base_tcp[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    assert 0 <= answer.gripper <= 1
    checkpoint = load_checkpoint(trained)
    with torch.no_grad():
        last = checkpoint.policy.mlp[-1]
        last.weight.zero_()
        last.bias.zero_()
    with pytest.raises(PolicyOutputError, match="span no plane"):
        KeyframeRuntime(checkpoint, device="cpu", dtype="float32").next_keyframe(step.cloud, step.state)


def test_who_takes_steps_refuses_keyframes_and_the_other_way_round_by_name(trained: Path, tmp_path: Path) -> None:
    refused = r"config.json: action.space: expected tcp_delta_pose_and_gripper, the checkpoint's is keyframe_pose"
    for load in (PolicyRuntime.load, PolicyActor):
        with pytest.raises(CheckpointError, match=refused):
            load(trained)
    save_checkpoint(tmp_path / "steps", tiny_checkpoint())
    with pytest.raises(CheckpointError, match="expected keyframe_pose_and_gripper, the checkpoint's is tcp_delta_pose"):
        KeyframeRuntime.load(tmp_path / "steps")


def test_a_checkpoint_whose_parts_disagree_about_the_space_is_refused(trained: Path) -> None:
    edit(trained, "config.json", lambda c: c["model"]["head"].update(action_space=TCP_DELTA.name))
    with pytest.raises(CheckpointError, match=r"model.head.action_space: expected 'keyframe_pose_and_gripper'"):
        load_checkpoint(trained)
    edit(trained, "config.json", lambda c: c.update(action=TCP_DELTA.to_dict()))
    with pytest.raises(CheckpointError, match=r"action_mean: expected 6 numbers of tcp_delta_pose.*found 9"):
        load_checkpoint(trained)


def test_keyframes_are_not_planned_in_chunks_nor_continued_from_steps(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="chunk: expected 1 with demonstrations of keyframe_pose_and_gripper"):
        train_imitation(config(tmp_path, chunk=2))
    steps = train_imitation(config(tmp_path, stores=(write_store(tmp_path / "steps"),), output=tmp_path / "other"))
    with pytest.raises(CheckpointError, match=r"model.head.action_space is 'tcp_delta_pose_and_gripper', the run asks"):
        train_imitation(config(tmp_path, init_from=steps))


def test_a_policy_starts_unturned() -> None:
    head = replace(tiny_checkpoint().config.head, action_space=KEYFRAME.name)
    policy = registry.build_policy(registry.PolicyConfig(encoder=TINY, head=head)).eval()
    output = policy(torch.rand(1, 32, 3), torch.zeros(1, 10))
    np.testing.assert_allclose(output.detach()[0, 3:9], rotation_to_6d(np.eye(3)), atol=0.05)
