import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from clar_core.data.episode import Episode, EpisodeError, Step
from clar_core.data.store import Store, StoreError, StoreWriter
from tests.core.data.demonstrations import POINTS, SPEC, episode, write_store


def test_episodes_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_store(tmp_path / "s", range(3))
    store = Store(tmp_path / "s")
    assert [(e.start, e.end) for e in store.episodes] == [(0, 12), (12, 24), (24, 36)]
    second, known = episode(1), store.episodes[1]
    assert (known.task, known.instruction, known.success, known.info) == ("reach", "reach the blob", True, {"seed": 1})
    np.testing.assert_array_equal(store.read("state")[12:24], [s.state for s in second.steps])
    np.testing.assert_array_equal(store.read("action")[12:24], [s.action for s in second.steps])
    assert store.spec == SPEC


def test_clouds_are_subsets_in_farthest_point_order_within_half_a_millimetre(tmp_path: Path) -> None:
    write_store(tmp_path / "s", range(1))
    cloud = Store(tmp_path / "s").read("point_cloud")[0].astype(np.float64)
    original = episode(0).steps[0].cloud
    distances = np.linalg.norm(cloud[:, None] - original[None], axis=-1)
    assert cloud.shape == (POINTS, 3)
    assert distances.min(1).max() < 0.5e-3
    assert len(set(distances.argmin(1))) == POINTS
    nearest_of_prefix = np.linalg.norm(cloud[:8, None] - cloud[None, :8], axis=-1)[~np.eye(8, dtype=bool)].min()
    nearest_of_rest = np.linalg.norm(cloud[8:, None] - cloud[None, :8], axis=-1).min(1).max()
    assert nearest_of_prefix >= nearest_of_rest - 1e-3


def test_short_clouds_repeat_and_say_how_long_they_are(tmp_path: Path) -> None:
    steps = [Step(s.cloud[:40], s.state, s.action) for s in episode(0).steps]
    writer = StoreWriter(tmp_path / "s", SPEC, points_per_cloud=POINTS)
    writer.append(Episode("reach", "go", steps))
    store = Store(tmp_path / "s")
    cloud = store.read("point_cloud")[0]
    assert store.read("point_count")[0] == 40
    np.testing.assert_array_equal(cloud[40:], cloud[:24])


def test_a_store_grows_over_several_writers(tmp_path: Path) -> None:
    write_store(tmp_path / "s", range(2))
    write_store(tmp_path / "s", range(2, 3))
    assert [e.info["seed"] for e in Store(tmp_path / "s").episodes] == [0, 1, 2]


@pytest.mark.parametrize("label", ["task", "success"])
def test_an_episode_without_a_label_is_named_with_what_is_missing(tmp_path: Path, label: str) -> None:
    write_store(tmp_path / "s", range(2))
    infos = zarr.open_group(tmp_path / "s", mode="r+")["meta/episode_info"]
    info = json.loads(bytes(infos[1]).rstrip(b"\0"))
    del info[label]
    infos[1] = np.frombuffer(json.dumps(info).encode().ljust(infos.shape[1], b"\0"), dtype=np.uint8)
    with pytest.raises(StoreError, match=f"meta/episode_info 1 has no label '{label}'.*convert the bags again"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("last_array", ["point_cloud", "state", "text", "meta/episode_info"])
def test_a_writer_that_dies_within_an_episode_leaves_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_array: str
) -> None:
    writer = StoreWriter(tmp_path / "s", SPEC, points_per_cloud=POINTS)
    writer.append(episode(0))
    put = StoreWriter._put

    def dying(self: StoreWriter, name: str, start: int, values: np.ndarray) -> None:
        put(self, name, start, values)
        if name == last_array:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "_put", dying)
        with pytest.raises(KeyboardInterrupt):
            writer.append(episode(1))
    assert [e.info["seed"] for e in Store(tmp_path / "s").episodes] == [0]
    write_store(tmp_path / "s", range(2, 4))
    store = Store(tmp_path / "s")
    assert [e.info["seed"] for e in store.episodes] == [0, 2, 3]
    np.testing.assert_array_equal(store.read("state")[12:24], [s.state for s in episode(2).steps])


def test_a_grown_but_unwritten_end_is_no_episode(tmp_path: Path) -> None:
    write_store(tmp_path / "s", range(2))
    ends = zarr.open_group(tmp_path / "s", mode="r+")["meta/episode_ends"]
    ends.resize((3,))
    assert len(Store(tmp_path / "s").episodes) == 2


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    same = [Store(write_store(tmp_path / name, range(2))).fingerprint() for name in ("a", "b")]
    other = Store(write_store(tmp_path / "c", range(1, 3))).fingerprint()
    assert same[0] == same[1] != other


def test_another_observation_is_not_mixed_in(tmp_path: Path) -> None:
    write_store(tmp_path / "s", range(1))
    with pytest.raises(StoreError, match=r"network_points: 16, 32"):
        StoreWriter(tmp_path / "s", replace(SPEC, network_points=16), points_per_cloud=POINTS)
    with pytest.raises(StoreError, match=r"points_per_cloud is 64 in this store, asked for 128"):
        StoreWriter(tmp_path / "s", SPEC, points_per_cloud=128)


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty and not a store"):
        StoreWriter(tmp_path, SPEC)
    with pytest.raises(StoreError, match=r"no store here"):
        Store(tmp_path)


def test_damage_is_named(tmp_path: Path) -> None:
    write_store(tmp_path / "a", range(1))
    attributes = json.loads((tmp_path / "a/zarr.json").read_text())
    attributes["attributes"]["format"] = "clar-store/0"
    (tmp_path / "a/zarr.json").write_text(json.dumps(attributes))
    with pytest.raises(StoreError, match=r"format: expected 'clar-store/1', found 'clar-store/0'"):
        Store(tmp_path / "a")

    write_store(tmp_path / "b", range(1))
    zarr.open_group(tmp_path / "b", mode="r+")["action"].resize((3, 7))
    with pytest.raises(StoreError, match=r"'action': expected 12 steps, found 3"):
        Store(tmp_path / "b").read("action")

    write_store(tmp_path / "c", range(1))
    (tmp_path / "c/zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"zarr.json cannot be read"):
        Store(tmp_path / "c")


def test_malformed_steps_are_refused_by_field() -> None:
    good = episode(0).steps[0]
    with pytest.raises(EpisodeError, match=r"state: expected shape \(10,\)"):
        Step(good.cloud, good.state[:9], good.action)
    with pytest.raises(EpisodeError, match=r"action: expected finite"):
        Step(good.cloud, good.state, good.action * np.nan)
    with pytest.raises(EpisodeError, match=r"cloud"):
        Step(good.cloud[:0], good.state, good.action)
    with pytest.raises(EpisodeError, match=r"at least one step"):
        Episode("reach", "go", [])


def test_a_sentence_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", SPEC, points_per_cloud=POINTS)
    with pytest.raises(StoreError, match=r"instruction: expected at most 512 bytes"):
        writer.append(replace(episode(0), instruction="x" * 513))
    assert writer.episodes == 0
