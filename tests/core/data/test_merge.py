"""Stores into one."""

import pytest

from clar_core.data.merge import merge
from clar_core.data.store import Store, StoreError
from tests.core.data.demonstrations import SPEC, write_store


@pytest.fixture
def stores(tmp_path):
    return [write_store(tmp_path / "a", range(3)), write_store(tmp_path / "b", range(3, 5), success=False)]


def test_all_episodes_follow_one_another_with_where_they_come_from(stores, tmp_path):
    assert merge(stores, tmp_path / "all") == (5, 0)
    a, b, both = Store(stores[0]), Store(stores[1]), Store(tmp_path / "all")
    for name in ("point_cloud", "point_count", "state", "action"):
        assert both.read(name).tobytes() == a.read(name).tobytes() + b.read(name).tobytes()
    assert [e.info["from"] for e in both.episodes] == ["a#0", "a#1", "a#2", "b#0", "b#1"]
    assert [e.info["seed"] for e in both.episodes] == [0, 1, 2, 3, 4]
    assert [e.success for e in both.episodes] == [True, True, True, False, False]


def test_a_second_merge_adds_what_is_missing(stores, tmp_path):
    merge(stores[:1], tmp_path / "all")
    assert merge(stores, tmp_path / "all") == (2, 3)
    assert merge(stores, tmp_path / "all") == (0, 5)


def test_failures_can_be_left_out(stores, tmp_path):
    assert merge(stores, tmp_path / "all", successes_only=True) == (3, 0)


def test_stores_that_do_not_fit_are_named(stores, tmp_path):
    import dataclasses

    other = write_store(tmp_path / "c", range(1), spec=dataclasses.replace(SPEC, crop_max_m=(0.8, 0.4, 0.5)))
    with pytest.raises(StoreError, match="c: observed otherwise than"):
        merge([stores[0], other], tmp_path / "all")
    with pytest.raises(StoreError, match="is one of the stores"):
        merge(stores, stores[0])
