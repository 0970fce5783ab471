"""FrameTree: what a lookup returns, and how it refuses."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from clar_core.geometry.frames import (
    ExtrapolationError,
    FrameError,
    FrameTree,
    UnconnectedFramesError,
    UnknownFrameError,
)
from clar_core.geometry.poses import Array, make_pose, rotation_vector_to_matrix

MS = 1_000_000


def pose(x: float, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Array:
    return make_pose(rotation_vector_to_matrix((0.0, 0.0, yaw)), (x, y, z))


def random_pose(rng: np.random.Generator) -> Array:
    return make_pose(rotation_vector_to_matrix(rng.uniform(-2, 2, 3)), rng.uniform(-1, 1, 3))


def test_lookup_maps_points_of_the_source_frame_to_the_target_frame() -> None:
    tree = FrameTree()
    tree.set_static("base", "camera", pose(1.0, 0.0, 0.5, yaw=np.pi / 2))
    point_in_camera = np.array([0.2, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(tree.lookup("base", "camera") @ point_in_camera, [1.0, 0.2, 0.5, 1.0], atol=1e-12)


def test_lookup_goes_down_up_and_across_the_tree() -> None:
    rng = np.random.default_rng(0)
    T_base_link, T_link_tcp, T_base_camera = random_pose(rng), random_pose(rng), random_pose(rng)
    tree = FrameTree()
    tree.set_static("base", "link", T_base_link)
    tree.set_static("link", "tcp", T_link_tcp)
    tree.set_static("base", "camera", T_base_camera)
    np.testing.assert_allclose(tree.lookup("base", "tcp"), T_base_link @ T_link_tcp, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("tcp", "base"), np.linalg.inv(T_base_link @ T_link_tcp), atol=1e-12)
    expected = np.linalg.inv(T_base_camera) @ T_base_link @ T_link_tcp
    np.testing.assert_allclose(tree.lookup("camera", "tcp"), expected, atol=1e-12)
    np.testing.assert_array_equal(tree.lookup("link", "link"), np.eye(4))


def test_static_transforms_hold_at_any_stamp() -> None:
    tree = FrameTree()
    tree.set_static("base", "camera", pose(1.0))
    assert tree.lookup_stamped("base", "camera", 123)[1] == 123
    assert tree.lookup_stamped("base", "camera")[1] == 0


def test_a_result_is_the_callers_own() -> None:
    tree = FrameTree()
    tree.set_static("base", "camera", pose(1.0))
    for _ in range(2):
        result = tree.lookup("base", "camera")
        assert result[0, 3] == 1.0
        result[0, 3] = 9.0


def test_a_replaced_static_transform_is_seen_by_the_next_lookup() -> None:
    tree = FrameTree()
    tree.set_static("base", "camera", pose(1.0))
    tree.set_static("camera", "optical", pose(0.1))
    assert tree.lookup("base", "optical")[0, 3] == pytest.approx(1.1)
    tree.set_static("base", "camera", pose(2.0))
    assert tree.lookup("base", "optical")[0, 3] == pytest.approx(2.1)


def test_between_two_stamps_the_pose_is_interpolated() -> None:
    tree = FrameTree()
    tree.set_timed("base", "tcp", pose(0.0, yaw=0.0), 100 * MS)
    tree.set_timed("base", "tcp", pose(1.0, yaw=1.0), 200 * MS)
    np.testing.assert_allclose(tree.lookup("base", "tcp", 125 * MS), pose(0.25, yaw=0.25), atol=1e-9)
    np.testing.assert_array_equal(tree.lookup("base", "tcp", 200 * MS), pose(1.0, yaw=1.0))


def test_stamps_may_arrive_out_of_order() -> None:
    tree = FrameTree()
    for stamp_ms in (300, 100, 200):
        tree.set_timed("base", "tcp", pose(stamp_ms / 1000), stamp_ms * MS)
    assert tree.lookup("base", "tcp", 150 * MS)[0, 3] == pytest.approx(0.15)
    assert tree.lookup_stamped("base", "tcp")[1] == 300 * MS


def test_nothing_is_extrapolated() -> None:
    tree = FrameTree()
    tree.set_timed("base", "tcp", pose(0.0), 100 * MS)
    tree.set_timed("base", "tcp", pose(1.0), 200 * MS)
    with pytest.raises(ExtrapolationError, match=r"base -> tcp 5.0 ms into the future"):
        tree.lookup("base", "tcp", 205 * MS)
    with pytest.raises(ExtrapolationError, match=r"base -> tcp 1.0 ms into the past"):
        tree.lookup("base", "tcp", 99 * MS)


def test_without_a_stamp_the_newest_common_time_is_used() -> None:
    tree = FrameTree()
    for stamp_ms in (100, 200):
        tree.set_timed("base", "link", pose(stamp_ms / 1000), stamp_ms * MS)
    for stamp_ms in (50, 150):
        tree.set_timed("link", "tcp", pose(0.0, stamp_ms / 1000), stamp_ms * MS)
    T, stamp_ns = tree.lookup_stamped("base", "tcp")
    assert stamp_ns == 150 * MS
    np.testing.assert_allclose(T[:3, 3], [0.15, 0.15, 0.0], atol=1e-12)


def test_the_history_is_bounded_and_older_data_is_dropped() -> None:
    tree = FrameTree(history_ns=100 * MS)
    for stamp_ms in range(0, 300, 10):
        tree.set_timed("base", "tcp", pose(0.0), stamp_ms * MS)
    with pytest.raises(ExtrapolationError):
        tree.lookup("base", "tcp", 180 * MS)
    tree.lookup("base", "tcp", 190 * MS)
    assert not tree.set_timed("base", "tcp", pose(0.0), 100 * MS)


def test_unknown_and_unconnected_frames_are_named() -> None:
    tree = FrameTree()
    with pytest.raises(UnknownFrameError, match="'base' does not exist; known frames: none yet"):
        tree.lookup("base", "base")
    tree.set_static("base", "tcp", pose(0.0))
    tree.set_static("camera_link", "optical", pose(0.0))
    with pytest.raises(UnknownFrameError, match=r"'camera'.*base, camera_link, optical, tcp"):
        tree.lookup("base", "camera")
    with pytest.raises(UnconnectedFramesError, match=r"'optical' .below 'camera_link'. with 'tcp' .below 'base'."):
        tree.lookup("tcp", "optical")
    assert issubclass(UnknownFrameError, FrameError)
    assert issubclass(FrameError, LookupError)


def test_a_frame_with_a_new_parent_moves_there_and_forgets_its_history() -> None:
    tree = FrameTree()
    tree.set_timed("base", "cube", pose(1.0), 100 * MS)
    tree.set_static("base", "tcp", pose(5.0))
    tree.set_timed("tcp", "cube", pose(0.1), 200 * MS)
    assert tree.parent("cube") == "tcp"
    assert tree.lookup("base", "cube")[0, 3] == pytest.approx(5.1)
    with pytest.raises(ExtrapolationError):
        tree.lookup("base", "cube", 100 * MS)


@pytest.mark.parametrize(
    ("parent", "child", "T", "message"),
    [
        ("", "tcp", np.eye(4), "expected two frame names"),
        ("tcp", "tcp", np.eye(4), "cannot be its own parent"),
        ("base", "tcp", np.full((4, 4), np.nan), "base -> tcp: expected finite numbers"),
        ("base", "tcp", 2 * np.eye(4), "base -> tcp: expected a rotation matrix"),
        ("tip", "root", np.eye(4), "would close a loop"),
    ],
)
def test_malformed_transforms_are_refused_and_change_nothing(parent: str, child: str, T: Array, message: str) -> None:
    tree = FrameTree()
    tree.set_static("root", "link", np.eye(4))
    tree.set_static("link", "tip", np.eye(4))
    for refused in (lambda: tree.set_static(parent, child, T), lambda: tree.set_timed(parent, child, T, 1)):
        with pytest.raises(ValueError, match=message):
            refused()
    assert tree.frames() == ("link", "root", "tip")


def test_a_history_must_have_a_length() -> None:
    with pytest.raises(ValueError, match="history_ns"):
        FrameTree(history_ns=0)


def test_clear_forgets_everything() -> None:
    tree = FrameTree()
    tree.set_static("base", "tcp", pose(1.0))
    tree.lookup("base", "tcp")
    tree.clear()
    with pytest.raises(UnknownFrameError):
        tree.lookup("base", "tcp")


def test_lookups_and_updates_from_several_threads_do_not_disturb_each_other() -> None:
    tree = FrameTree(history_ns=50 * MS)
    tree.set_timed("base", "tcp", pose(0.0), 0)
    stop = threading.Event()
    failures: list[BaseException] = []

    def reader() -> None:
        while not stop.is_set():
            try:
                T, stamp_ns = tree.lookup_stamped("base", "tcp")
                assert T[0, 3] == stamp_ns / MS
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    for stamp_ms in range(300):
        tree.set_timed("base", "tcp", pose(float(stamp_ms)), stamp_ms * MS)
    stop.set()
    for thread in threads:
        thread.join(timeout=10)
    assert not failures
