from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.datasets import Demonstrations, ImitationDataset, SampleKey, StepSampler, collate, fit_normalizer
from clar_core.data.store import StoreError, StoreWriter
from clar_core.observation.builder import build_network_points
from tests.core.data.demonstrations import POINTS, SPEC, episode, write_store


@pytest.fixture
def data(tmp_path: Path) -> Demonstrations:
    return Demonstrations.load([write_store(tmp_path / "a"), write_store(tmp_path / "b", range(6, 8), task="lift")])


def test_stores_are_joined_in_order(data: Demonstrations) -> None:
    assert [e.info["seed"] for e in data.episodes] == list(range(8))
    assert data.episodes[6].start == 72
    assert len(data.states) == 96
    assert data.tasks() == ("lift", "reach")
    assert len(data.fingerprints) == 2


def test_failures_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    good, bad = write_store(tmp_path / "a", range(1)), write_store(tmp_path / "b", range(2), success=False)
    assert len(Demonstrations.load([good, bad]).episodes) == 1
    assert len(Demonstrations.load([good, bad], require_success=False).episodes) == 3
    with pytest.raises(StoreError, match=r"no successful episode"):
        Demonstrations.load([bad])


def test_stores_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one = write_store(tmp_path / "a", range(1))
    other = write_store(tmp_path / "b", range(1), spec=replace(SPEC, depth_max_m=1.5))
    with pytest.raises(StoreError, match=r"observed otherwise .* depth_max_m: 2.0, 1.5"):
        Demonstrations.load([one, other])


def test_the_split_is_by_episode_and_repeatable(data: Demonstrations) -> None:
    training, validation = data.split(0.25, seed=0)
    assert [data.episodes[i].task for i in validation] == ["reach", "reach", "lift"]
    assert sorted(training + validation) == list(range(8))
    assert data.split(0.25, seed=0) == (training, validation)
    assert data.split(0.0, seed=0)[1] == ()
    assert len(data.split(0.01, seed=0)[1]) == 2, "one of each task"


def test_validation_samples_are_what_the_runtime_would_see(data: Demonstrations) -> None:
    normalizer = fit_normalizer(data, range(8), None, 0)
    points, state, action, task, at_switch = ImitationDataset(data, range(8), normalizer, None)[SampleKey(0, 0, 3)]
    np.testing.assert_array_equal(points, build_network_points(data.clouds[3].astype(np.float32), SPEC))
    np.testing.assert_array_equal(state, normalizer.normalise_state(data.states[3]))
    np.testing.assert_array_equal(action, normalizer.normalise_action(data.actions[3]))
    assert task == 1
    assert isinstance(at_switch, bool)


def test_a_sample_depends_on_seed_step_and_row_alone(data: Demonstrations) -> None:
    dataset = ImitationDataset(data, range(8), fit_normalizer(data, range(8), None, 0), AugmentationConfig())
    first = dataset[SampleKey(0, 5, 3)]
    dataset[SampleKey(0, 6, 3)]
    np.testing.assert_array_equal(first[0], dataset[SampleKey(0, 5, 3)][0])
    for other in (SampleKey(1, 5, 3), SampleKey(0, 6, 3)):
        assert not np.array_equal(first[0], dataset[other][0])


def test_batches_stack(data: Demonstrations) -> None:
    dataset = ImitationDataset(data, range(8), fit_normalizer(data, range(8), None, 0), AugmentationConfig())
    batch = collate([dataset[SampleKey(0, 0, row)] for row in range(4)])
    assert [tuple(part.shape) for part in batch] == [(4, 32, 3), (4, 10), (4, 7), (4,), (4,)]


def test_gripper_switches_are_marked_three_ticks_around(data: Demonstrations) -> None:
    dataset = ImitationDataset(data, [0], fit_normalizer(data, range(8), None, 0), None)
    gripper = data.actions[:12, 6]
    switch = int(np.flatnonzero(np.diff(gripper))[0]) + 1
    marked = [row for row in range(12) if dataset[SampleKey(0, 0, row)][4]]
    assert marked == [row for row in range(12) if switch - 3 <= row <= switch + 3]


def test_an_epoch_draws_every_sample_at_most_once() -> None:
    keys = [key.row for batch in StepSampler(10, 3, seed=0, start=0, stop=3) for key in batch]
    assert len(keys) == len(set(keys)) == 9


def test_sampling_can_start_at_any_step() -> None:
    whole = list(StepSampler(10, 3, seed=0, start=0, stop=8))
    assert list(StepSampler(10, 3, seed=0, start=5, stop=8)) == whole[5:]


def test_statistics_cover_the_augmented_positions(data: Demonstrations) -> None:
    plain = fit_normalizer(data, range(8), None, 0)
    moved = fit_normalizer(data, range(8), AugmentationConfig(), 0)
    assert (moved.state_std[:2] > plain.state_std[:2]).all()


def test_history_and_chunks_stay_within_the_episode(data: Demonstrations) -> None:
    normalizer = fit_normalizer(data, range(8), None, 0)
    dataset = ImitationDataset(data, range(8), normalizer, None, history=3, chunk=4)
    points, states, actions, *_ = dataset[SampleKey(0, 0, 12)]
    assert points.shape == (3, 32, 3)
    np.testing.assert_array_equal(states, normalizer.normalise_state(data.states[[12, 12, 12]]))
    np.testing.assert_array_equal(actions, normalizer.normalise_action(data.actions[12:16]))
    points, states, actions, *_ = dataset[SampleKey(0, 0, 22)]
    np.testing.assert_array_equal(states, normalizer.normalise_state(data.states[20:23]))
    held = normalizer.denormalise_action(actions[2:])
    np.testing.assert_allclose(held[:, :6], 0.0, atol=1e-6)
    assert (actions[2:, 6] == data.actions[23, 6]).all()


def test_history_and_actions_move_together(data: Demonstrations) -> None:
    config = AugmentationConfig(jitter_m=0.0, dropout=0.0)
    normalizer = fit_normalizer(data, range(8), None, 0)
    dataset = ImitationDataset(data, range(8), normalizer, config, history=2, chunk=2)
    _, states, _, *_ = dataset[SampleKey(0, 5, 4)]
    moved = states * normalizer.state_std + normalizer.state_mean
    step = np.linalg.norm(moved[1, :3] - moved[0, :3])
    assert step == pytest.approx(np.linalg.norm(data.states[4, :3] - data.states[3, :3]), abs=1e-5)


def test_training_draws_any_sentence_of_the_task_and_validation_the_recorded_one(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", SPEC, points_per_cloud=POINTS)
    for seed, sentence in enumerate(("grab it", "take it", "grab it")):
        writer.append(replace(episode(seed), instruction=sentence))
    writer.append(replace(episode(3, task="lift"), instruction="up"))
    data = Demonstrations.load([tmp_path / "s"])
    assert data.sentences() == ("grab it", "take it", "up")
    normalizer = fit_normalizer(data, range(4), None, 0)
    varied = ImitationDataset(data, range(4), normalizer, AugmentationConfig())
    assert {varied[SampleKey(0, step, 3)][3] for step in range(20)} == {0, 1}
    assert {varied[SampleKey(0, step, 40)][3] for step in range(20)} == {2}
    recorded = ImitationDataset(data, range(4), normalizer, None)
    assert [recorded[SampleKey(0, 0, row)][3] for row in (0, 12, 24, 36)] == [0, 1, 0, 2]


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    first, second = write_store(tmp_path / "a"), write_store(tmp_path / "b", range(6, 9))
    array = zarr.open_group(second, mode="r+")["action"]
    assert isinstance(array, zarr.Array)
    array[15, 2] = np.nan
    with pytest.raises(StoreError, match=r"b: action: NaN or Inf in episode 1, step 3"):
        Demonstrations.load([first, second])


def test_a_task_with_one_episode_cannot_hold_one_out(tmp_path: Path) -> None:
    stores = [write_store(tmp_path / "a"), write_store(tmp_path / "b", range(1), task="lift")]
    data = Demonstrations.load(stores)
    with pytest.raises(StoreError, match=r"1 episode of task 'lift', expected at least 2"):
        data.split(0.1, 0)
    assert data.split(0.0, 0)[0] == tuple(range(7))
