"""RH20T scenes: small files in the true layout, with its traps."""

import json
from collections import Counter

import av
import numpy as np
import pytest

from clar_core.data.rh20t import SceneError, read_camera, read_episodes, read_scene
from clar_core.data.rh20t_layout import CONFIGURATIONS, calibration_tcp, pose_of
from clar_core.data.safe_pickle import UnsafePickleError, load_object_array
from clar_core.geometry.poses import inverse, make_pose, matrix_to_quaternion
from clar_core.observation.spec import ObservationSpec
from tests.core.observation.scene import T_BASE_CAMERA, render

SPEC = ObservationSpec(network_points=64)
FIXED, IN_HAND = "037522062165", CONFIGURATIONS[1].in_hand[0]
# 320 x 180 images; the calibration is for 1280 x 720.
FOCAL, WIDTH, HEIGHT = 200.0, 320, 180
DOWN = np.diag([1.0, -1.0, -1.0])
T_TCP_CALIB = make_pose(DOWN, (0.4, 0.1, 0.3))


def wxyz(T):
    x, y, z, w = matrix_to_quaternion(T[:3, :3])
    return np.array([*T[:3, 3], w, x, y, z])


def depth_image():
    from clar_core.geometry.camera import Intrinsics

    return render(intrinsics=Intrinsics(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))


def write_depth(path, frames, scale=1):
    """A lossless video, the low byte above the high one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=10, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, 2 * HEIGHT, "rgb24"
        for depth in frames:
            raw = depth.astype(np.uint32) * scale
            gray = np.concatenate([raw % 256, raw // 256]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_scene(root, *, serial=FIXED, scale=1, name="task_0003_user_0001_scene_0002_cfg_0001", **metadata):
    robot = CONFIGURATIONS[1]
    calib = root / "calib" / "1620000000000"
    calib.mkdir(parents=True, exist_ok=True)
    T_camera_base = inverse(T_BASE_CAMERA)
    # The marker stands anywhere; extrinsics map it to each camera.
    T_base_marker = make_pose(None, (0.5, 0.2, 0.0))
    T_hand_base = robot.tc_mat @ inverse(T_TCP_CALIB)
    extrinsics = {serial: [T_camera_base @ T_base_marker], IN_HAND: [T_hand_base @ T_base_marker]}
    K = np.array([[4 * FOCAL, 0, 2 * WIDTH, 0], [0, 4 * FOCAL, 2 * HEIGHT, 0], [0, 0, 1, 0]])
    np.save(calib / "extrinsics.npy", extrinsics)
    np.save(calib / "intrinsics.npy", {serial: K, IN_HAND: K})
    np.save(calib / "tcp.npy", wxyz(T_TCP_CALIB))
    folder = root / name
    (folder / f"cam_{serial}").mkdir(parents=True)
    (folder / "transformed").mkdir()
    given = {"calib": 1620000000000, "calib_quality": 2, "rating": 5, **metadata}
    (folder / "metadata.json").write_text(json.dumps(given))
    stamps = [1_620_000_000_000 + 100 * i for i in range(6)]
    np.save(folder / f"cam_{serial}" / "timestamps.npy", {"color": stamps, "depth": stamps})
    write_depth(folder / f"cam_{serial}" / "depth.mp4", [depth_image()] * 6, scale)
    poses = [make_pose(DOWN, (0.5, 0.0, 0.3 - 0.01 * i)) for i in range(6)]
    tcps = [{"timestamp": t, "tcp": wxyz(T)} for t, T in zip(stamps, poses, strict=True)]
    np.save(folder / "transformed" / "tcp_base.npy", {serial: tcps})
    widths = {t: {"gripper_info": np.array([90.0 - 15 * i, 0, 0])} for i, t in enumerate(stamps)}
    np.save(folder / "transformed" / "gripper.npy", {serial: widths})
    return folder


def test_a_scene_becomes_an_episode_in_the_base_frame_with_measured_labels(tmp_path):
    folder = write_scene(tmp_path)
    episode = read_camera(read_scene(folder), FIXED, SPEC)
    assert len(episode) == 5
    first = episode.steps[0]
    np.testing.assert_allclose(first.action[:3], [0, 0, -0.01], atol=1e-6)
    assert first.action[6] == 0.0  # the gripper closes by 15 mm a step
    np.testing.assert_allclose(first.state[:3], [0.5, 0, 0.3], atol=1e-6)
    assert first.state[9] == pytest.approx(0.090 / 0.095, abs=1e-6)
    # The cube of the scene stands where it stands in the base frame.
    cube = first.cloud[(first.cloud[:, 2] > 0.04) & (first.cloud[:, 2] < 0.06) & (first.cloud[:, 0] > 0.45)]
    assert np.abs(np.median(cube[:, :2], axis=0) - (0.525, 0.0)).max() < 0.02
    assert episode.success
    assert episode.info["labels"] == "measured"
    assert episode.info["licence"] == "CC BY-SA 4.0"


def test_quaternions_are_wxyz():
    T = make_pose(DOWN, (0.1, 0.2, 0.3))
    np.testing.assert_allclose(pose_of(wxyz(T)), T, atol=1e-12)
    with pytest.raises(ValueError, match="7 numbers, got 6"):
        pose_of(np.zeros(6))


def test_an_l515_counts_depth_in_quarters_of_a_millimetre(tmp_path):
    serial = "f0211830"
    folder = write_scene(tmp_path, serial=serial, scale=4)
    episode = read_camera(read_scene(folder), serial, SPEC)
    reference = read_camera(read_scene(write_scene(tmp_path / "b")), FIXED, SPEC)
    np.testing.assert_allclose(episode.steps[0].cloud, reference.steps[0].cloud, atol=2e-3)


def test_each_robot_wrote_its_calibration_pose_in_its_own_way():
    T = make_pose(DOWN, (0.4, 0.1, 0.3))
    np.testing.assert_allclose(calibration_tcp(wxyz(T), "flexiv"), T, atol=1e-12)
    kuka = calibration_tcp(np.array([400.0, 100.0, 300.0, np.pi, 0, 0]), "kuka")
    np.testing.assert_allclose(kuka, T, atol=1e-12)
    franka = calibration_tcp(np.array([0.4, 0.1, 0.3, 0, 0, 0]), "franka")
    np.testing.assert_allclose(franka, T, atol=1e-12)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root, scene: (root / "calib/1620000000000/tcp.npy").unlink(), "tcp.npy is missing"),
        (lambda root, scene: (scene / "metadata.json").write_text("{"), "metadata.json is missing or not JSON"),
        (lambda root, scene: (scene / f"cam_{FIXED}" / "depth.mp4").unlink(), "depth.mp4 is missing"),
        (lambda root, scene: (scene / f"cam_{FIXED}" / "depth.mp4").write_bytes(b"no"), "depth.mp4 cannot be decoded"),
        (lambda root, scene: (scene / "transformed/gripper.npy").unlink(), "gripper.npy is missing"),
        (lambda root, scene: np.save(root / "calib/1620000000000/extrinsics.npy", {}), "lacks the camera on the hand"),
    ],
)
def test_what_is_missing_is_counted_by_reason_and_the_other_scenes_are_read(tmp_path, spoil, reason):
    bad, good = tmp_path / "RH20T_cfg1", tmp_path / "RH20T_cfg1b"
    spoil(bad, write_scene(bad))
    write_scene(good)
    skipped = Counter()
    assert len(list(read_episodes(tmp_path, SPEC, skipped=skipped))) == 1
    assert any(reason in key for key in skipped), skipped


def test_uncalibrated_scenes_human_scenes_and_cameras_on_the_hand_are_left_out(tmp_path):
    write_scene(tmp_path / "a", calib_quality=0)
    write_scene(tmp_path / "b", name="task_0003_user_0001_scene_0002_cfg_0001_human")
    skipped = Counter()
    assert list(read_episodes(tmp_path, SPEC, skipped=skipped)) == []
    assert len(skipped) == 2
    scene = read_scene(write_scene(tmp_path / "c"))
    with pytest.raises(SceneError, match="on the hand"):
        read_camera(scene, IN_HAND, SPEC)
    with pytest.raises(SceneError, match="without calibration"):
        read_camera(scene, "unknown", SPEC)


def test_later_scenes_are_not_for_commercial_use_and_failures_are_no_successes(tmp_path):
    folder = write_scene(tmp_path, name="task_0003_user_0001_scene_0007_cfg_0001", rating=1)
    episode = read_camera(read_scene(folder), FIXED, SPEC)
    assert episode.info["licence"] == "CC BY-NC 4.0"
    assert not episode.success


class Evil:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_an_array_file_that_would_run_something_is_refused(tmp_path, capsys):
    np.save(tmp_path / "evil.npy", np.array(Evil(), dtype=object), allow_pickle=True)
    with pytest.raises(UnsafePickleError, match=r"builtins\.print"):
        load_object_array(tmp_path / "evil.npy")
    assert capsys.readouterr().out == ""
