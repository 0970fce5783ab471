"""Bags that were cut off are finished with all that was whole."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from mcap.reader import make_reader

from clar_core.data.bag_recovery import recover_bag
from clar_core.data.bag_writer import BagWriter
from clar_core.data.bags import BagError, BagReader
from tests.core.data.recorded import EPISODE, IMAGE, MS, STORE, episode, image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 2000, (48, 64)).astype(np.uint16)


def _write(folder, seconds, *, rate_hz=10):
    """An open bag with a quiet topic, flushed once a second."""
    writer = BagWriter(folder, STORE)
    for topic in (IMAGE, EPISODE):
        writer.add_topic(topic.name, topic.msgtype, topic.qos)
    writer.write("/clar/episode", 0, episode(0, "open_drawer"))
    for i in range(seconds * rate_hz):
        stamp_ns = i * 1000 * MS // rate_hz
        writer.write("/depth", stamp_ns, image(stamp_ns, PIXELS + i))
        if i % rate_hz == rate_hz - 1:
            writer.flush()
    return writer


def _numbers(bag):
    with BagReader(bag) as reader:
        return [int(m.message.data.view(np.uint16)[0]) - int(PIXELS[0, 0]) for m in reader.messages(["/depth"])]


def test_everything_that_was_flushed_survives(tmp_path):
    writer = _write(tmp_path / "episode", 3)
    writer.write("/depth", 3000 * MS, image(0, PIXELS))
    recovered = recover_bag(tmp_path / "episode.recording", notes={"task": "open_drawer"})
    assert recovered.path == tmp_path / "episode"
    assert recovered.messages == {"/depth": 30, "/clar/episode": 1}
    assert recovered.duration_s == pytest.approx(2.9)
    assert _numbers(recovered.path) == list(range(30))
    with BagReader(recovered.path) as reader:
        assert reader.notes["task"] == "open_drawer"
        assert "0 bytes were lost" in reader.notes["recovered"]
        assert reader.topics["/clar/episode"].qos[0].durability.name == "TRANSIENT_LOCAL"
        (message,) = reader.messages(["/clar/episode"])
        assert message.message.task == "open_drawer"


@pytest.mark.parametrize("cut", [1, 9, 500, 40_000])
def test_a_torn_end_costs_no_more_than_the_chunk_it_tears(tmp_path, cut):
    _write(tmp_path / "episode", 4).abort()
    file = tmp_path / "episode.recording" / "episode_0.mcap"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(size - cut)
    recovered = recover_bag(tmp_path / "episode.recording")
    kept = _numbers(recovered.path)
    assert kept in (list(range(30)), list(range(40)))
    assert recovered.messages["/depth"] == len(kept)


def test_a_damaged_chunk_ends_what_can_be_recovered(tmp_path):
    _write(tmp_path / "episode", 4).abort()
    file = tmp_path / "episode.recording" / "episode_0.mcap"
    data = bytearray(file.read_bytes())
    third = [i for i in range(len(data)) if data.startswith(b"\x28\xb5\x2f\xfd", i)][2]
    data[third + 50 : third + 60] = b"\xff" * 10
    file.write_bytes(data)
    recovered = recover_bag(tmp_path / "episode.recording")
    assert _numbers(recovered.path) == list(range(20))
    assert recovered.lost_bytes > 0


def test_a_recovered_file_is_a_whole_mcap_file(tmp_path):
    _write(tmp_path / "episode", 3).abort()
    bag = recover_bag(tmp_path / "episode.recording").path
    with (bag / "episode_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == 31
        assert [m.log_time for _, _, m in reader.iter_messages(topics=["/depth"], starting_at=2000 * MS)] == [
            (2000 + 100 * i) * MS for i in range(10)
        ]


def test_recovering_twice_changes_nothing(tmp_path):
    _write(tmp_path / "episode", 2).abort()
    bag = recover_bag(tmp_path / "episode.recording").path
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    assert recover_bag(bag).lost_bytes == 0
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


def test_a_whole_bag_without_metadata_gets_it_back(tmp_path):
    bag = _write(tmp_path / "episode", 2).close()
    original = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").unlink()
    assert recover_bag(bag).lost_bytes == 0
    assert _numbers(bag) == list(range(20))
    hashes = [line for line in original.splitlines() if "RIHS01" in line]
    assert hashes
    assert all(line.strip() in (bag / "metadata.yaml").read_text() for line in hashes)


def test_what_cannot_be_recovered_is_said(tmp_path):
    with pytest.raises(BagError, match="expected a rosbag2 folder"):
        recover_bag(tmp_path / "nowhere")
    with pytest.raises(BagError, match="found 0"):
        recover_bag(tmp_path)
    (tmp_path / "a.mcap").write_bytes(b"not that")
    with pytest.raises(BagError, match="not an MCAP file"):
        recover_bag(tmp_path)
    (tmp_path / "b.mcap").touch()
    with pytest.raises(BagError, match="found 2"):
        recover_bag(tmp_path)
    BagWriter(tmp_path / "empty", STORE).abort()
    with pytest.raises(BagError, match="nothing can be recovered"):
        recover_bag(tmp_path / "empty.recording")


def test_a_recording_does_not_replace_a_bag_of_its_name(tmp_path):
    _write(tmp_path / "episode", 1).abort()
    (tmp_path / "episode").mkdir()
    with pytest.raises(BagError, match="move one of them away"):
        recover_bag(tmp_path / "episode.recording")


def test_kill_9_loses_at_most_the_last_second(tmp_path):
    """Another process writes at 20 messages a second until it is killed in the midst of it."""
    program = textwrap.dedent(
        """
        import sys, time, numpy as np
        from pathlib import Path
        from clar_core.data.recording import Recording, RecordingLimits
        from tests.core.data.recorded import IMAGE, STORE, image
        limits = RecordingLimits(min_free_bytes=0, flush_period_s=1.0)
        recording = Recording(Path(sys.argv[1]), STORE, limits)
        recording.add_topic(IMAGE)
        pixels = np.random.default_rng(0).integers(0, 2000, (48, 64)).astype(np.uint16)
        while True:
            recording.put("/depth", time.time_ns(), image(time.time_ns(), pixels))
            print(time.time_ns(), flush=True)
            time.sleep(0.05)
        """
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "episode")], stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in writer.stdout:
        lines.append(int(line))
        if lines[-1] - lines[0] > 2.5e9:
            break
    writer.kill()
    lines += [int(line) for line in writer.stdout]
    writer.wait()
    recovered = recover_bag(tmp_path / "episode.recording")
    with BagReader(recovered.path) as reader:
        stamps = [stamp for _, stamp, _ in reader.raw_messages()]
    assert stamps[0] <= lines[0]
    # One second, and what a busy machine adds between the tick of the clock and the write.
    assert (lines[-1] - stamps[-1]) * 1e-9 < 1.5
    assert len(stamps) == sum(line <= stamps[-1] for line in lines) + 1
