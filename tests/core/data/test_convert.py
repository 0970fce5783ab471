"""Bags to a store: resumable, the same whatever the number of workers, a bad bag does not stop the others."""

from pathlib import Path

import numpy as np
import pytest

from clar_core.data.bags import BagError
from clar_core.data.convert import ConvertConfig, convert, find_bags
from clar_core.data.store import Store
from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded_episode import record

SPEC = ObservationSpec(network_points=128)


@pytest.fixture(scope="module")
def bags(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for number in range(3):
        record(folder, ticks=12 + number, name=f"20260131T120000_{number:04d}")
    return folder


def config(bags, store, **options):
    given = {"bags": (bags,), "directory": store, "spec": SPEC, "points_per_cloud": 256, "workers": 1, **options}
    return ConvertConfig(**given)


def content(store):
    opened = Store(store)
    return [opened.read(name).tobytes() for name in ("point_cloud", "point_count", "state", "action")], [
        (e.start, e.end, e.task, e.instruction, e.success, e.info) for e in opened.episodes
    ]


def test_every_episode_is_in_the_store_with_where_it_comes_from(bags, tmp_path):
    results = convert(config(bags, tmp_path / "store"))
    assert [(r.episodes, r.steps) for r in results] == [(1, 12), (1, 13), (1, 14)]
    store = Store(tmp_path / "store")
    assert [len(e) for e in store.episodes] == [12, 13, 14]
    first = store.episodes[0]
    assert first.info["bag"] == "20260131T120000_0000"
    assert first.info["calibration"].startswith("sha256:aaaa")
    assert np.isfinite(store.read("point_cloud")).all()


def test_the_result_is_the_same_for_one_and_for_several_workers(bags, tmp_path):
    convert(config(bags, tmp_path / "one"))
    convert(config(bags, tmp_path / "two", workers=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_interrupted_conversion_goes_on_and_ends_the_same(bags, tmp_path):
    def interrupt(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(config(bags, tmp_path / "store"), interrupt)
    assert len(Store(tmp_path / "store").episodes) == 1
    results = convert(config(bags, tmp_path / "store"))
    assert [r.already for r in results] == [True, False, False]
    convert(config(bags, tmp_path / "whole"))
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_bad_bags_are_named_and_the_others_converted(bags, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = record(folder, ticks=12, name="a_good")
    truncated = record(folder, ticks=12, name="b_truncated")
    file = next(truncated.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:20_000])
    record(folder, name="c_no_state", without=("/clar/robot/state",))
    record(folder, name="d_no_depth", without=("/camera/camera/depth/image_rect_raw",))
    record(folder, name="e_wrong_encoding", encoding="mono8")
    (folder / "f_cut_off.recording").mkdir()
    (folder / "f_cut_off.recording" / "f_cut_off_0.mcap").write_bytes(b"")
    (folder / "g_empty.mcap").write_bytes(b"")
    results = {r.bag.name: r for r in convert(config(folder, tmp_path / "store"))}
    assert results[good.name].steps == 12
    for name, reason in {
        "b_truncated": "clar data recover",
        "c_no_state": "no robot state",
        "d_no_depth": "/camera/camera/depth/image_rect_raw",
        "e_wrong_encoding": "mono8",
        "f_cut_off.recording": "clar data recover",
        "g_empty.mcap": "not a readable bag",
    }.items():
        assert name in results[name].error
        assert reason in results[name].error
    assert len(Store(tmp_path / "store").episodes) == 1


def test_failures_are_kept_and_marked_or_left_out(tmp_path):
    record(tmp_path / "bags", outcome=2, ticks=12)
    (kept,) = convert(config(tmp_path / "bags", tmp_path / "kept"))
    assert kept.episodes == 1
    assert not Store(tmp_path / "kept").episodes[0].success
    (left,) = convert(config(tmp_path / "bags", tmp_path / "left", failures=False))
    assert left.skipped["episode that failed"] == 1


def test_a_place_without_bags_is_named(tmp_path):
    with pytest.raises(BagError, match="no such bag or folder"):
        find_bags([tmp_path / "nowhere"])
    with pytest.raises(BagError, match="no bag here"):
        find_bags([tmp_path])


def test_a_dask_cluster_gives_the_same_store(bags, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        convert(config(bags, tmp_path / "dask", scheduler=cluster.scheduler_address))
    convert(config(bags, tmp_path / "one"))
    assert content(tmp_path / "dask") == content(tmp_path / "one")


def test_a_scheduler_that_is_not_there_is_named(bags, tmp_path, monkeypatch):
    monkeypatch.setattr("clar_core.data.convert._CONNECT_S", 0.5)
    with pytest.raises(BagError, match="no Dask scheduler answers"):
        convert(config(bags, tmp_path / "store", scheduler="tcp://127.0.0.1:1"))
