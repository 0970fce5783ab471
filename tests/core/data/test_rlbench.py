"""RLBench demonstrations: small files in the true layout, with its traps."""

import pickle
import sys
import types
from collections import Counter

import cv2
import numpy as np
import pytest

from clar_core.cli.main import main
from clar_core.control.spaces import KEYFRAME
from clar_core.data.rlbench import keyframe_episode, read_episodes, step_episode
from clar_core.data.rlbench_demo import DemonstrationError, keyframes, load_demonstration, read_depth
from clar_core.data.rlbench_scene import SPEC as RLBENCH_SPEC
from clar_core.data.rlbench_scene import T_BASE_WORLD
from clar_core.data.safe_pickle import UnsafePickleError
from clar_core.data.store import Store
from clar_core.geometry.poses import make_pose, matrix_to_quaternion, rotation_from_6d
from clar_core.observation.spec import ObservationSpec
from tests.core.observation.scene import INTRINSICS, T_BASE_CAMERA, render
from tests.rlbench_files import write_demonstrations

SPEC = ObservationSpec(network_points=64)
NEAR, FAR = 0.01, 4.5
DOWN = np.diag([1.0, -1.0, -1.0])
LENGTH = 13


@pytest.fixture(scope="module")
def rlbench():
    """Classes as RLBench has them, while pickles are written; reading must do without."""
    modules = {name: types.ModuleType(name) for name in ("rlbench", "rlbench.demo", "rlbench.backend.observation")}
    for module, name in (("rlbench.demo", "Demo"), ("rlbench.backend.observation", "Observation")):
        kind = type(name, (), {"__module__": module})
        setattr(modules[module], name, kind)
    sys.modules.update(modules)
    yield modules
    for name in modules:
        del sys.modules[name]


def encode(depth_m):
    """24 bits between the planes, in red, green, blue."""
    value = np.round((depth_m - NEAR) / (FAR - NEAR) * (2**24 - 1)).astype(np.uint32)
    return np.stack([value & 255, (value >> 8) & 255, value >> 16], axis=-1).astype(np.uint8)


def observation(rlbench, i, *, still=False, is_open=True):
    o = rlbench["rlbench.backend.observation"].Observation()
    T = make_pose(DOWN, (0.5, 0.0, 0.4 - 0.004 * i))
    o.gripper_pose = np.concatenate([T[:3, 3], matrix_to_quaternion(T[:3, :3])])
    o.gripper_open = 1.0 if is_open else 0.0
    o.joint_velocities = np.full(7, 0.0 if still else 0.5)
    # RLBench's cameras are turned by half about their axis, and have negative focal lengths to make up for it.
    K = np.array([[-INTRINSICS.fx, 0, INTRINSICS.cx], [0, -INTRINSICS.fy, INTRINSICS.cy], [0, 0, 1]])
    o.misc = {
        "front_camera_extrinsics": T_BASE_CAMERA @ np.diag([-1.0, -1.0, 1.0, 1.0]),
        "front_camera_intrinsics": K,
        "front_camera_near": NEAR,
        "front_camera_far": FAR,
    }
    return o


def write_demo(rlbench, task, number=0, closes_at=8):
    folder = task / "variation0" / "episodes" / f"episode{number}"
    (folder / "front_depth").mkdir(parents=True)
    demo = rlbench["rlbench.demo"].Demo()
    demo._observations = [observation(rlbench, i, is_open=i < closes_at) for i in range(LENGTH)]
    (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps(demo))
    (task / "variation0" / "variation_descriptions.pkl").write_bytes(pickle.dumps(["put the cube away", "tidy up"]))
    image = encode(np.clip(render() / 1000.0, NEAR, FAR))
    for i in range(LENGTH):
        cv2.imwrite(str(folder / "front_depth" / f"{i}.png"), image)
    return folder


def test_a_demonstration_becomes_an_episode_at_ten_hertz(rlbench, tmp_path):
    episode = step_episode(load_demonstration(write_demo(rlbench, tmp_path / "put_cube")), SPEC)
    assert len(episode) == 6
    assert (episode.task, episode.instruction) == ("put_cube", "put the cube away")
    np.testing.assert_allclose(episode.steps[0].action[:3], [0, 0, -0.008], atol=1e-6)
    assert [step.action[6] for step in episode.steps] == [1, 1, 1, 0, 0, 0]
    cube = episode.steps[0].cloud
    cube = cube[(cube[:, 2] > 0.04) & (cube[:, 2] < 0.06) & (cube[:, 0] > 0.45)]
    assert np.abs(np.median(cube[:, :2], axis=0) - (0.525, 0.0)).max() < 0.02
    assert episode.info["keyframes"] == [4, 6]


def test_depth_is_decoded_between_the_planes_and_negative_focal_lengths_are_a_turned_camera(rlbench, tmp_path):
    folder = write_demo(rlbench, tmp_path / "t")
    depth, intrinsics, T = read_depth(folder, "front", 0, observation(rlbench, 0))
    expected = render()
    seen = expected > 0
    assert np.abs(depth[seen].astype(int) - expected[seen]).max() <= 1
    assert (intrinsics.fx, intrinsics.fy) == (INTRINSICS.fx, INTRINSICS.fy)
    np.testing.assert_allclose(T, T_BASE_CAMERA, atol=1e-9)


def test_keyframes_are_where_the_gripper_changes_where_the_arm_stops_and_the_end(rlbench):
    is_open = [i < 6 for i in range(20)]
    observations = [observation(rlbench, i, still=i in (12, 13), is_open=is_open[i]) for i in range(20)]
    assert keyframes(observations, is_open) == [6, 12, 19]


def test_reading_needs_no_rlbench_and_other_classes_are_refused(rlbench, tmp_path):
    folder = write_demo(rlbench, tmp_path / "t")
    (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps(types.SimpleNamespace()))
    with pytest.raises(UnsafePickleError, match=r"types\.SimpleNamespace"):
        load_demonstration(folder)


def test_what_cannot_be_read_is_counted_and_the_others_are_read(rlbench, tmp_path):
    task = tmp_path / "task"
    write_demo(rlbench, task, 0)
    (write_demo(rlbench, task, 1) / "front_depth" / "4.png").unlink()
    (write_demo(rlbench, task, 2) / "low_dim_obs.pkl").write_bytes(b"\x80\x04trunc")
    skipped = Counter()
    assert [e.info["bag"] for e in read_episodes(task, SPEC, skipped=skipped)] == ["variation0/episode0"]
    assert any("4.png: is missing" in reason for reason in skipped)
    assert any("not a readable pickle" in reason for reason in skipped)
    with pytest.raises(DemonstrationError, match="misc: expected front_camera_near"):
        read_depth(task / "variation0/episodes/episode0", "front", 0, _without(rlbench))


def _without(rlbench):
    o = observation(rlbench, 0)
    o.misc = {}
    return o


def test_a_demonstration_becomes_decisions_of_where_to_go_next(rlbench, tmp_path):
    demonstration = load_demonstration(write_demo(rlbench, tmp_path / "put_cube"))
    assert demonstration.keyframes() == [8, 12]
    episode = keyframe_episode(demonstration, SPEC, between=0)
    assert (len(episode), episode.action_space, episode.instruction) == (2, KEYFRAME, "put the cube away")
    for step, now, then, is_open in zip(episode.steps, (0, 8), (8, 12), (0.0, 0.0), strict=True):
        np.testing.assert_allclose(step.state[:3], (0.5, 0.0, 0.4 - 0.004 * now), atol=1e-6)
        np.testing.assert_allclose(step.action[:3], (0.5, 0.0, 0.4 - 0.004 * then), atol=1e-6)
        np.testing.assert_allclose(rotation_from_6d(step.action[3:9]), DOWN, atol=1e-6)
        assert step.action[9] == is_open
    on_the_way = keyframe_episode(demonstration, SPEC, between=3)
    np.testing.assert_allclose(
        [0.4 - s.state[2] for s in on_the_way.steps], 0.004 * np.array([0, 3, 6, 8, 11]), atol=1e-6
    )
    assert [round((0.4 - s.action[2]) / 0.004) for s in on_the_way.steps] == [8, 8, 8, 12, 12]


def test_importing_keyframes_moves_the_world_to_the_arm_and_goes_on(tmp_path, capsys):
    task = write_demonstrations(tmp_path, 2)
    command = ["data", "import", "rlbench", str(task), "--action", "keyframe", "--output", str(tmp_path / "store")]
    assert main(command) == 0
    assert "2 episodes added" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 episodes added" in capsys.readouterr().out
    store = Store(tmp_path / "store")
    assert (store.action_space, store.spec) == (KEYFRAME, RLBENCH_SPEC)
    demonstration = load_demonstration(task / "variation0/episodes/episode0", T_BASE_WORLD)
    last = store.read("action")[store.episodes[0].end - 1]
    np.testing.assert_allclose(last[:3], demonstration.poses[-1][:3, 3], atol=1e-6)
    assert 0.4 < last[0] < 0.6
    assert last[9] == 0
    cloud = store.read("point_cloud")[0].astype(float)
    cube = cloud[(cloud[:, 0] > 0.38) & (np.linalg.norm(cloud - last[:3], axis=1) < 0.06)]
    assert len(cube) > 20
    assert store.episodes[0].info["demonstration"] == demonstration.digest
    assert main([*command[:-2], "--output", str(tmp_path / "store"), "--action", "step"]) == 1
    assert "action space is keyframe_pose_and_gripper in this store" in capsys.readouterr().err


def test_a_folder_that_is_not_of_one_task_is_refused_and_leaves_nothing(tmp_path, capsys):
    for task in ("close_box", "water_plants"):
        write_demonstrations(tmp_path / "demos", 1, task)
    command = ["data", "import", "rlbench", str(tmp_path / "demos"), "--output", str(tmp_path / "store")]
    assert main(command) == 1
    assert "holds several: close_box, water_plants" in capsys.readouterr().err
    assert main([*command[:3], str(tmp_path), *command[4:]]) == 1
    assert "expected <task>/variation0/episodes/episode0" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
