"""Episodes out of bags: which action belongs to which observation."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from clar_core.data.bag_episode import expand, read_episodes, state_at
from clar_core.data.bag_log import read_log
from clar_core.data.bags import BagError, BagReader
from clar_core.data.mapping import BagMapping, MappingError, load_mapping
from clar_core.geometry.poses import inverse, make_pose
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import StampedState, StateBuffer
from tests.core.data.recorded import MS, STORE, header
from tests.core.data.recorded_episode import (
    DOWN,
    OPTICAL,
    START,
    T_LINK_OPTICAL,
    Recipe,
    camera_info,
    depth,
    pose_message,
    record,
    rendered,
    serialized,
    transform,
)
from tests.core.observation.scene import T_BASE_CAMERA

SPEC = ObservationSpec()


def read(path, mapping=None, **options):
    with BagReader(path) as bag:
        return read_episodes(bag, SPEC, mapping or BagMapping(), **options)


def test_labels_are_what_the_commanded_pose_changed_by_paired_with_the_observation_named(tmp_path):
    recipe = Recipe()
    (found,) = read(record(tmp_path, recipe))
    episode = found.episode
    assert len(episode) == recipe.ticks
    actions = np.array([step.action for step in episode.steps])
    np.testing.assert_allclose(actions, recipe.steps(), atol=1e-6)
    np.testing.assert_allclose(episode.steps[0].state, proprioception(START, 0.08, SPEC), atol=1e-6)
    assert episode.success
    assert episode.task == "place_cube_in_basin"
    assert episode.info["labels"] == "commanded"
    assert episode.info["sources"] == [["teleop", 24]]
    assert not found.skipped


def test_commands_that_were_refused_or_name_no_observation_label_nothing(tmp_path):
    (found,) = read(record(tmp_path, unobserved=(3, 4), refused=(8,)))
    assert len(found.episode) == 21
    assert found.skipped["names no observation"] == 2
    assert found.skipped["not executed"] == 1


def test_a_take_over_is_recorded_step_by_step(tmp_path):
    recipe = Recipe(source="policy", sources=dict.fromkeys(range(10, 18), "teleop"))
    (found,) = read(record(tmp_path, recipe))
    assert found.episode.info["sources"] == [["policy", 10], ["teleop", 8], ["policy", 6]]
    assert expand(found.episode.info["sources"])[9:11] == ["policy", "teleop"]


def test_standing_still_at_head_and_tail_is_left_out_but_for_two_steps(tmp_path):
    actions = Recipe().steps()
    actions[:, 6] = 1.0
    actions[:6, :6] = 0.0
    actions[-5:, :6] = 0.0
    path = record(tmp_path, actions=actions)
    (found,) = read(path)
    assert len(found.episode) == 24 - 4 - 3
    (whole,) = read(path, trim=False)
    assert len(whole.episode) == 24


@pytest.mark.parametrize(("outcome", "success"), [(1, True), (2, False), (0, False)])
def test_the_outcome_is_the_operators_and_an_unfinished_episode_is_no_success(tmp_path, outcome, success):
    (found,) = read(record(tmp_path, outcome=outcome))
    assert found.episode.success is success


def test_a_discarded_episode_is_not_one(tmp_path):
    assert read(record(tmp_path, outcome=3)) == []


def test_bags_without_commands_give_measured_labels_at_ten_hertz(tmp_path):
    path = record(tmp_path, without=("/clar/command",))
    (found,) = read(path)
    assert found.episode.info["labels"] == "measured"
    assert 22 <= len(found.episode) <= 25
    middle = np.array([step.action for step in found.episode.steps[4:-4]])
    np.testing.assert_allclose(middle[:, :3].mean(axis=0), [0.004, 0, -0.006], atol=1e-3)
    assert middle[0, 6] == 1.0
    assert middle[-1, 6] == 0.0


def test_the_camera_can_be_placed_by_the_mapping(tmp_path):
    path = record(tmp_path, without=("/tf_static",))
    with pytest.raises(BagError, match="no usable step"):
        read(path)
    rows = tuple(tuple(row) for row in T_BASE_CAMERA.tolist())
    (found,) = read(path, BagMapping(T_base_camera=rows))
    assert len(found.episode) == 24


def test_images_of_another_encoding_are_named(tmp_path):
    with pytest.raises(BagError, match="32FC1"):
        read(record(tmp_path, encoding="32FC1"))


def test_the_start_of_the_arm_is_where_the_states_say(tmp_path):
    (found,) = read(record(tmp_path))
    assert np.allclose(found.episode.steps[0].state[:3], make_pose(DOWN, (0.5, 0, 0.3))[:3, 3])


def test_the_state_of_a_step_is_the_one_that_the_live_policy_would_have_found(tmp_path):
    with BagReader(record(tmp_path)) as bag:
        states = read_log(bag).states
    live = StateBuffer(SPEC, capacity=len(states))
    for stamp, T, width in zip(states.stamps_ns, states.T_measured, states.width_m, strict=True):
        live.append(StampedState(int(stamp), T, float(width)))
    for stamp in range(int(states.stamps_ns[5]) + 3_000_000, int(states.stamps_ns[-5]), 77_000_000):
        expected, found = live.at(stamp), state_at(states, stamp, SPEC)
        assert found.T_base_tcp.tobytes() == expected.T_base_tcp.tobytes()
        assert found.gripper_width_m == expected.gripper_width_m


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_bag_of_another_recorder_is_read_through_a_mapping_file(tmp_path, storage):
    """As `ros2 bag record` writes realsense-ros's topics beside a robot's own, in either storage."""
    names = {"/cam/depth": "sensor_msgs/msg/Image", "/cam/info": "sensor_msgs/msg/CameraInfo"}
    names |= {"/robot/pose": "geometry_msgs/msg/PoseStamped", "/hand": "sensor_msgs/msg/JointState"}
    names |= {"/tf_static": "tf2_msgs/msg/TFMessage"}
    with Writer(tmp_path / "plain", version=9, storage_plugin=storage) as writer:
        topics = {name: writer.add_connection(name, kind, typestore=STORE) for name, kind in names.items()}
        for topic, data in _static():
            writer.write(topics[topic], 0, data)
        for at_ms in range(0, 2000, 10):
            T = make_pose(DOWN, (0.5, 0.0, 0.4 - 0.00008 * at_ms))
            writer.write(topics["/robot/pose"], at_ms * MS, _pose_stamped(at_ms, T))
            writer.write(topics["/hand"], at_ms * MS, _joints(at_ms, 0.04 if at_ms < 1000 else 0.02))
            if at_ms % 50 == 0:
                writer.write(topics["/cam/info"], at_ms * MS, camera_info(at_ms))
                writer.write(topics["/cam/depth"], at_ms * MS, depth(at_ms, rendered(at_ms)))
    (tmp_path / "mapping.yaml").write_text(
        "depth_image: /cam/depth\ndepth_info: /cam/info\npose: /robot/pose\ngripper: /hand\n"
        "gripper_joints: [left, right]\ntask: reach\ninstruction: go down\n"
    )
    mapping = load_mapping(tmp_path / "mapping.yaml")
    with pytest.raises(BagError, match="no robot state"):
        read(tmp_path / "plain")
    (found,) = read(tmp_path / "plain", mapping)
    assert (found.episode.task, found.episode.instruction) == ("reach", "go down")
    assert len(found.episode) == 19
    np.testing.assert_allclose(found.episode.steps[3].action[:3], [0, 0, -0.008], atol=1e-6)
    assert [step.action[6] for step in found.episode.steps][8:11] == [1, 0, 0]
    assert found.episode.steps[0].state[9] == 1.0


def test_a_mapping_file_with_a_mistake_names_the_field(tmp_path):
    file = tmp_path / "mapping.yaml"
    for text, message in (
        ("depht_image: /a", "depht_image: unknown field"),
        ("task: 7", "task: expected str, got 7"),
        ("T_base_camera: [[1, 2], [3, 4]]", r"T_base_camera: expected a \(4, 4\) matrix"),
        ("- a", "expected fields"),
        ("a: [", "not a readable YAML"),
    ):
        file.write_text(text)
        with pytest.raises(MappingError, match=message):
            load_mapping(file)


def _static():
    yield "/tf_static", transform("fr3_link0", "camera_link", T_BASE_CAMERA @ inverse(T_LINK_OPTICAL))
    yield "/tf_static", transform("camera_link", OPTICAL, T_LINK_OPTICAL)


def _pose_stamped(at_ms, T):
    message = STORE.types["geometry_msgs/msg/PoseStamped"](header=header(at_ms * MS), pose=pose_message(T))
    return serialized("geometry_msgs/msg/PoseStamped", message)


def _joints(at_ms, position):
    message = STORE.types["sensor_msgs/msg/JointState"](
        header=header(at_ms * MS), name=["left", "right"], position=np.full(2, position), velocity=np.zeros(2),
        effort=np.zeros(2),
    )  # fmt: skip
    return serialized("sensor_msgs/msg/JointState", message)
