"""Bags written and read without ROS."""

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.interfaces import QosDurability, QosReliability

from clar_core.data.bag_writer import BagWriter
from clar_core.data.bags import BagError, BagReader, make_typestore
from tests.core.data.recorded import EPISODE, IMAGE, INTERFACES, MS, STATIC, STORE, episode, image

PIXELS = np.arange(48, dtype=np.uint16).reshape(6, 8)


@pytest.fixture
def bag(tmp_path):
    writer = BagWriter(tmp_path / "episode", STORE)
    for topic in (IMAGE, EPISODE, STATIC):
        writer.add_topic(topic.name, topic.msgtype, topic.qos)
    writer.write("/clar/episode", 0, episode(0, "open_drawer"))
    for i in range(30):
        writer.write("/depth", i * 33 * MS, image(i * 33 * MS, PIXELS + i))
    return writer.close({"outcome": "success", "task": "open_drawer"})


def test_messages_come_back_typed_in_order_of_time(bag):
    with BagReader(bag) as reader:
        messages = list(reader.messages())
        assert [m.stamp_ns for m in messages] == sorted(m.stamp_ns for m in messages)
        depth = [m.message for m in messages if m.topic == "/depth"]
        assert len(depth) == 30
        assert depth[7].encoding == "16UC1"
        np.testing.assert_array_equal(depth[7].data.view(np.uint16).reshape(6, 8), PIXELS + 7)


def test_types_that_rosbags_does_not_know_are_read_from_the_bag_itself(bag):
    with BagReader(bag) as reader:
        (message,) = reader.messages(["/clar/episode"])
        assert message.message.task == "open_drawer"
        assert message.message.header.frame_id == "fr3_link0"
        assert message.message.OUTCOME_DISCARD == 3


def test_a_finished_bag_says_what_it_holds(bag):
    with BagReader(bag) as reader:
        assert reader.topics["/depth"].count == 30
        assert reader.topics["/depth"].msgtype == "sensor_msgs/msg/Image"
        assert reader.topics["/tf_static"].count == 0
        assert reader.message_count == 31
        assert reader.duration_s == pytest.approx(29 * 0.033)
        assert reader.notes == {"outcome": "success", "task": "open_drawer"}


def test_offered_qos_is_kept_so_that_playback_latches_what_was_latched(bag):
    with BagReader(bag) as reader:
        (static,) = reader.topics["/tf_static"].qos
        assert static.durability is QosDurability.TRANSIENT_LOCAL
        (depth,) = reader.topics["/depth"].qos
        assert depth.reliability is QosReliability.BEST_EFFORT
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    profiles = {
        t["topic_metadata"]["name"]: t["topic_metadata"]["offered_qos_profiles"]
        for t in information["topics_with_message_count"]
    }
    assert profiles["/tf_static"][0]["durability"] == "transient_local"


def test_the_file_is_what_other_mcap_readers_expect(bag):
    with (bag / "episode_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.message_count == 31
        assert {chunk.compression for chunk in summary.chunk_indexes} == {"zstd"}
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
        assert sum(1 for _ in reader.iter_messages(topics=["/depth"])) == 30


def test_messages_can_be_asked_for_by_topic_and_time(bag):
    with BagReader(bag) as reader:
        stamps = [m.stamp_ns for m in reader.messages(["/depth"], start_ns=330 * MS, stop_ns=660 * MS)]
        assert stamps == [i * 33 * MS for i in range(10, 20)]
        with pytest.raises(BagError, match=r"no topic /rgb; the bag has /clar/episode, /depth, /tf_static"):
            next(reader.messages(["/rgb"]))


def test_an_unfinished_bag_has_another_name(tmp_path):
    writer = BagWriter(tmp_path / "episode", STORE)
    assert (tmp_path / "episode.recording" / "episode_0.mcap").exists()
    assert not (tmp_path / "episode").exists()
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(tmp_path / "episode", STORE)
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_never_overwritten(bag):
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(bag, STORE)


def test_what_is_not_a_bag_is_named(tmp_path):
    with pytest.raises(BagError, match=r"nowhere: no such bag"):
        BagReader(tmp_path / "nowhere")
    with pytest.raises(BagError, match=r"expected metadata.yaml"):
        BagReader(tmp_path)
    (tmp_path / "empty.mcap").touch()
    with pytest.raises(BagError, match=r"empty.mcap: not a readable bag"):
        BagReader(tmp_path / "empty.mcap")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BagError, match=r"notes.txt"):
        BagReader(tmp_path / "notes.txt")


def test_a_cut_off_bag_names_the_command_that_finishes_it(bag):
    (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match=r"clar data recover .*episode"):
        BagReader(bag)


def test_a_damaged_bag_is_named(bag):
    file = bag / "episode_0.mcap"
    data = bytearray(file.read_bytes())
    data[200:260] = b"\xff" * 60
    file.write_bytes(data)
    with pytest.raises(BagError, match="episode"), BagReader(bag) as reader:
        list(reader.messages())


def test_interface_definitions_are_checked(tmp_path):
    with pytest.raises(BagError, match="found none"):
        make_typestore(tmp_path)
    (tmp_path / "msg").mkdir()
    (tmp_path / "msg" / "Broken.msg").write_text("float64 = 3 what")
    with pytest.raises(BagError, match=r"Broken.msg: not a message definition"):
        make_typestore(tmp_path)


def test_all_interfaces_of_the_stack_can_be_recorded():
    store = make_typestore(INTERFACES)
    for file in (INTERFACES / "msg").glob("*.msg"):
        assert store.hash_rihs01(f"clar_interfaces/msg/{file.stem}").startswith("RIHS01_")
