"""Every kind of bad bag is named, with file and field, by `validate` and by `convert`; the good ones still convert."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from clar_core.cli import data_convert
from clar_core.data.bag_writer import BagWriter, offered_qos
from clar_core.data.bags import BagError
from clar_core.data.convert import ConvertConfig, Converted, convert
from clar_core.data.quality import BAD, assess, compare
from clar_core.data.store import Store
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded import MS, STORE
from tests.core.data.recorded_episode import (
    BEGIN_MS,
    CALIBRATION,
    TOPICS,
    Recipe,
    episode_mark,
    messages,
    record,
)
from tests.core.observation.scene import INTRINSICS, T_BASE_CAMERA

SPEC = ObservationSpec(network_points=128)
STATE, DEPTH, INFO = "/clar/robot/state", "/camera/camera/depth/image_rect_raw", "/camera/camera/depth/camera_info"
GOOD = ("a_good", "z_good")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """As far as a calibration file is compared."""

    T_base_optical: np.ndarray = dataclasses.field(default_factory=lambda: T_BASE_CAMERA)
    hash: str = CALIBRATION


@pytest.fixture
def bags(tmp_path) -> Path:
    for name in GOOD:
        record(tmp_path / "bags", ticks=12, name=name)
    return tmp_path / "bags"


def converted(bags: Path, **options) -> dict[str, Converted]:
    store = bags.parent / "store"
    results = convert(
        ConvertConfig(bags=(bags,), directory=store, spec=SPEC, points_per_cloud=256, workers=1, **options)
    )
    assert {str(e.info["bag"]) for e in Store(store).episodes} >= set(GOOD)
    return {result.bag.stem: result for result in results}


def truncate(bag: Path) -> None:
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:20_000])


def test_a_truncated_bag(bags):
    truncate(record(bags, ticks=12, name="bad"))
    error = converted(bags)["bad"].error
    assert str(bags / "bad") in error
    assert "clar data recover" in error
    with pytest.raises(BagError, match=r"bad.*clar data recover"):
        assess(bags / "bad", SPEC)


def test_an_empty_file_and_a_bag_without_messages(bags):
    (bags / "nothing.mcap").write_bytes(b"")
    writer = BagWriter(bags / "silent", STORE)
    for topic, kind in TOPICS.items():
        writer.add_topic(topic, kind, [offered_qos()])
    writer.close()
    results = converted(bags)
    assert f"{bags / 'nothing.mcap'}: not a readable bag" in results["nothing"].error
    assert f"{bags / 'silent'}: empty: no message" in results["silent"].error
    with pytest.raises(BagError, match=r"silent: empty: no message"):
        assess(bags / "silent", SPEC)


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        (STATE, f"no robot state: expected {STATE}"),
        (DEPTH, f"no topic {DEPTH}"),
        (INFO, f"no topic {INFO}"),
        ("/tf_static", "no transform fr3_link0 <- camera"),
    ],
)
def test_a_missing_topic(bags, topic, found):
    record(bags, ticks=12, name="bad", without=(topic,))
    error = converted(bags)["bad"].error
    assert str(bags / "bad") in error
    assert found in error


@pytest.mark.parametrize(("jump_ms", "how"), [(-400, "goes back by 0.39 s"), (400, "shifts by 0.40 s")])
def test_a_clock_that_jumps_back_or_ahead(bags, jump_ms, how):
    record(bags, name="bad", state_jump_ms=jump_ms)
    error = converted(bags)["bad"].error
    assert f"{bags / 'bad'}: {STATE}: header.stamp: {how}" in error
    (report,) = assess(bags / "bad", SPEC)
    (finding,) = [f for f in report.findings if f.check == "clock"]
    assert finding.level == BAD
    assert f"{STATE}: header.stamp {how}" in finding.value


def test_a_host_clock_that_goes_back_mixes_two_times_and_is_found_out(bags):
    """Stamps and times of reception alike: sorted by time, states of before and after lie between one another."""
    recipe = Recipe(name="bad")
    writer = BagWriter(bags / "bad", STORE)
    for topic, kind in TOPICS.items():
        writer.add_topic(topic, kind, [offered_qos()])
    half_ms = BEGIN_MS + 100 * recipe.ticks // 2
    late = Recipe(name="bad", state_jump_ms=-400)
    for (at_ms, topic, data), (_, _, shifted) in zip(messages(recipe), messages(late), strict=True):
        is_late = topic == STATE and at_ms > half_ms + 100
        writer.write(topic, (at_ms - 400 * is_late) * MS, shifted if topic == STATE else data)
    writer.close()
    error = converted(bags)["bad"].error
    assert f"{bags / 'bad'}: {STATE}: last_sequence: goes back" in error
    assert "the clock jumped" in error


def test_a_bag_of_another_camera_is_converted_and_pointed_out(bags):
    other = dataclasses.replace(INTRINSICS, fx=1.1 * INTRINSICS.fx)
    record(bags, ticks=12, name="bad", intrinsics=other)
    results = converted(bags)
    assert results["bad"].episodes == 1
    (warning,) = results["bad"].warnings
    assert f"{bags / 'bad'}: camera_info: 320x240, fx {other.fx:.2f}" in warning
    assert f"most bags have 320x240, fx {INTRINSICS.fx:.2f}" in warning
    assert not results["a_good"].warnings
    reports = compare([assess(bags / name, SPEC)[0] for name in ("a_good", "bad", "z_good")])
    assert [f.check for f in reports[1].findings if "of its own" in f.check] == ["camera of its own"]


def test_frozen_frames_are_left_out_where_the_live_node_would_hold_them_back(bags):
    record(bags, name="bad", frozen_from=24)
    results = converted(bags)
    reason = f"{DEPTH}: the image has not changed for more than 0.15 s"
    assert results["bad"].skipped[reason] == 24 - 14
    assert results["bad"].steps == 14
    assert assess(bags / "bad", SPEC)[0].verdict == BAD


@pytest.mark.parametrize("encoding", ["mono8", "32FC1"])
def test_a_wrong_depth_encoding(bags, encoding):
    record(bags, ticks=12, name="bad", encoding=encoding)
    error = converted(bags)["bad"].error
    assert str(bags / "bad") in error
    assert f"{DEPTH}: Image.encoding: expected 16UC1 or mono16" in error
    assert encoding in error


@pytest.mark.parametrize(
    ("moved", "found"),
    [
        (make_pose(None, (0.005, 0, 0)), "5.0 mm and 0.0 degrees off"),
        (make_pose(rotation_vector_to_matrix((0, 0, np.deg2rad(1)))), "1.0 degrees off"),
    ],
)
def test_transforms_that_differ_from_the_calibration(bags, moved, found):
    record(bags, ticks=12, name="bad", T_base_camera=moved @ T_BASE_CAMERA)
    results = converted(bags, calibration=Calibration())
    assert f"{bags / 'bad'}: /tf_static: fr3_link0 <- camera_depth_optical_frame: " in results["bad"].error
    assert found in results["bad"].error
    (report,) = assess(bags / "bad", SPEC, calibration=Calibration())
    assert any(f.check == "transforms" and f.level == BAD and found in f.value for f in report.findings)


def test_what_the_store_cannot_hold_costs_its_own_episode_only(bags):
    record(bags, ticks=12, name="bad", instruction="put " * 200)
    results = converted(bags)
    assert str(bags / "bad") in results["bad"].error
    assert "episode instruction: expected at most 512 bytes" in results["bad"].error


def test_a_bad_episode_does_not_cost_the_others_of_its_bag(bags):
    """A run in one bag: the first of its episodes has no executed command."""
    recipe = Recipe(name="second", refused=(0, 1, 2, 3))
    writer = BagWriter(bags / "run", STORE)
    for topic, kind in TOPICS.items():
        writer.add_topic(topic, kind, [offered_qos()])
    first = Recipe(name="first")
    every = [m for m in messages(recipe) if m[1] != "/clar/episode"]
    for at_ms, outcome, of in ((1000, 0, first), (1350, 2, first), (1400, 0, recipe), (3500, 1, recipe)):
        every.append((at_ms, "/clar/episode", episode_mark(at_ms, outcome, of)))
    for at_ms, topic, data in sorted(every, key=lambda m: m[0]):
        writer.write(topic, at_ms * MS, data)
    writer.close()
    result = converted(bags)["run"]
    assert "episode first has no usable step" in result.error
    assert (result.episodes, result.steps) == (1, 20)
    assert "run#1" in {e.info["bag"] for e in Store(bags.parent / "store").episodes}


def test_the_command_names_them_and_ends_with_status_1_after_the_good_ones(bags, tmp_path, capsys):
    truncate(record(bags, ticks=12, name="bad"))
    assert data_convert.main([str(bags), "--output", str(tmp_path / "mine"), "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert str(bags / "bad") in printed.err
    assert "2 episodes, 24 steps added, 0 bags were there, 1 bags not converted" in printed.out
    assert len(Store(tmp_path / "mine").episodes) == 2
