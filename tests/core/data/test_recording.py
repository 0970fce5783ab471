"""A recording ends well whatever happens to it, and says what happened."""

import contextlib
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from clar_core.data import bag_writer
from clar_core.data.bags import BagError, BagReader
from clar_core.data.recording import Recording, RecordingLimits
from tests.core.data.recorded import EPISODE, IMAGE, MS, STORE, episode, image

PIXELS = np.random.default_rng(0).integers(0, 2000, (48, 64)).astype(np.uint16)
LIMITS = RecordingLimits(min_free_bytes=0)


@pytest.fixture
def start(tmp_path):
    def make(limits=LIMITS, **arguments):
        recording = Recording(tmp_path / "episode", STORE, limits, **arguments)
        recording.add_topic(IMAGE)
        return recording

    return make


def _put(recording, count, first=0):
    return [recording.put("/depth", i * MS, image(i * MS, PIXELS + i)) for i in range(first, first + count)]


def test_everything_handed_over_is_in_the_bag(start):
    recording = start(notes={"task": "open_drawer"})
    assert all(_put(recording, 200))
    bag = recording.finish({"outcome": "success"})
    with BagReader(bag) as reader:
        assert [m.message.header.stamp.nanosec for m in reader.messages()] == [i * MS for i in range(200)]
        assert reader.notes == {"task": "open_drawer", "outcome": "success"}
    status = recording.status()
    assert (status.messages, status.rejected, status.failure, status.queued_bytes) == ({"/depth": 200}, 0, None, 0)
    assert not recording.put("/depth", 0, b"")
    assert recording.status().rejected == 1


def test_many_threads_may_hand_over_at_once(start):
    recording = start()
    threads = [threading.Thread(target=_put, args=(recording, 100, 100 * i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with BagReader(recording.finish()) as reader:
        assert reader.message_count == 400


def test_topics_may_join_while_recording(start):
    recording = start()
    _put(recording, 5)
    recording.add_topic(EPISODE)
    recording.add_topic(EPISODE)
    recording.put("/clar/episode", 6 * MS, episode(0, "open_drawer"))
    with BagReader(recording.finish()) as reader:
        assert {name: topic.count for name, topic in reader.topics.items()} == {"/depth": 5, "/clar/episode": 1}


def test_a_topic_that_was_not_declared_is_a_mistake_of_the_caller(start):
    recording = start()
    with pytest.raises(KeyError, match="/rgb"):
        recording.put("/rgb", 0, b"")
    recording.discard()


def test_a_discarded_recording_leaves_nothing(start, tmp_path):
    recording = start()
    _put(recording, 50)
    recording.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_recording_is_an_empty_bag(start):
    with BagReader(start().finish()) as reader:
        assert reader.message_count == 0


def test_falling_behind_ends_the_recording_with_all_that_was_accepted(start, monkeypatch):
    """The writer stands still until the queue is full."""
    held = threading.Event()
    original = bag_writer.BagWriter.write

    def slow(self, *arguments):
        held.wait(30)
        original(self, *arguments)

    monkeypatch.setattr(bag_writer.BagWriter, "write", slow)
    reasons = []
    recording = start(RecordingLimits(min_free_bytes=0, queue_bytes=100_000), on_failure=reasons.append)
    accepted = _put(recording, 30)
    assert accepted == [True] * sum(accepted) + [False] * (30 - sum(accepted))
    assert 0 < sum(accepted) < 30
    assert "fell behind" in recording.status().failure
    held.set()
    bag = recording.finish()
    with BagReader(bag) as reader:
        assert reader.message_count == sum(accepted)
        assert "fell behind" in reader.notes["ended_early"]
    assert len(reasons) == 1
    assert recording.status().rejected == 30 - sum(accepted)


def test_an_almost_full_disk_ends_the_recording_readable(start, monkeypatch):
    told = threading.Event()
    recording = start(
        RecordingLimits(min_free_bytes=1 << 20, flush_period_s=0.01), on_failure=lambda reason: told.set()
    )
    _put(recording, 20)
    usage = type("usage", (), {"free": 1 << 10})
    monkeypatch.setattr("clar_core.data.recording.shutil.disk_usage", lambda path: usage)
    assert told.wait(30)
    assert "almost full" in recording.status().failure
    assert not recording.put("/depth", 0, b"")
    with BagReader(recording.finish({"outcome": "failure"})) as reader:
        assert reader.message_count == 20
        assert "almost full" in reader.notes["ended_early"]


def test_recording_does_not_start_without_space(tmp_path):
    with pytest.raises(OSError, match="MiB free, expected at least"):
        Recording(tmp_path / "episode", STORE, RecordingLimits(min_free_bytes=1 << 60))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_a_readable_bag_and_tells_why(tmp_path):
    """The operating system refuses to let the file grow beyond 3 MB, in a process of its own."""
    program = textwrap.dedent(
        """
        import resource, sys, threading, numpy as np
        from pathlib import Path
        from clar_core.data.recording import Recording, RecordingLimits
        from tests.core.data.recorded import IMAGE, STORE, image
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
        told = threading.Event()
        def on_failure(reason):
            print(reason, flush=True)
            told.set()
        recording = Recording(Path(sys.argv[1]), STORE, RecordingLimits(min_free_bytes=0), on_failure=on_failure)
        recording.add_topic(IMAGE)
        rng = np.random.default_rng(0)
        for i in range(100_000):
            pixels = rng.integers(0, 65535, (240, 320)).astype(np.uint16)
            if not recording.put("/depth", i, image(i, pixels)):
                break
        assert told.wait(30)
        print(recording.finish())
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "episode")], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "File too large" in result.stdout
    with BagReader(tmp_path / "episode") as reader:
        stamps = [m.stamp_ns for m in reader.messages()]
        assert len(stamps) >= 5
        assert stamps == list(range(len(stamps)))
        assert "File too large" in reader.notes["ended_early"]
        assert "were lost" in reader.notes["recovered"]


def test_a_small_file_system_that_fills_up_leaves_a_readable_bag_and_tells_why(tmp_path):
    """A file system of 4 MB that only the child process sees, with no room kept free: the very last block is used."""
    unshare = _unshare()
    program = textwrap.dedent(
        """
        import shutil, sys, threading, numpy as np
        from pathlib import Path
        from clar_core.data.recording import Recording, RecordingLimits
        from tests.core.data.recorded import IMAGE, STORE, image
        disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
        assert shutil.disk_usage(disk).total < 5_000_000
        told = threading.Event()
        def on_failure(reason):
            print(reason, flush=True)
            told.set()
        limits = RecordingLimits(min_free_bytes=0, flush_period_s=0.05)
        recording = Recording(disk / "episode", STORE, limits, on_failure=on_failure)
        recording.add_topic(IMAGE)
        rng = np.random.default_rng(0)
        for i in range(100_000):
            pixels = rng.integers(0, 65535, (240, 320)).astype(np.uint16)
            if not recording.put("/depth", i, image(i, pixels)):
                break
        assert told.wait(30)
        shutil.copytree(recording.finish({"outcome": "failure"}), elsewhere)
        """
    )
    mount = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    (tmp_path / "disk").mkdir()
    result = subprocess.run(
        [*unshare, "sh", "-c", mount, "sh", str(tmp_path / "disk"), sys.executable, program, str(tmp_path / "copy")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "No space left on device" in result.stdout
    with BagReader(tmp_path / "copy") as reader:
        stamps = [m.stamp_ns for m in reader.messages()]
        assert len(stamps) >= 10
        assert stamps == list(range(len(stamps)))
        assert "No space left on device" in reader.notes["ended_early"]
        assert reader.notes["outcome"] == "failure"


def _unshare():
    """The command by which a child may mount: as root, or as root of a name space of its own."""
    for command in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        with contextlib.suppress(FileNotFoundError):
            trial = [*command, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp"]
            if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
                return command
    pytest.skip("neither root nor user name spaces here, so no file system can be mounted")


def test_finish_gives_up_what_waits_too_long(start, monkeypatch):
    held = threading.Event()
    original = bag_writer.BagWriter.write

    def slow(self, *arguments):
        held.wait(0.05)
        original(self, *arguments)

    monkeypatch.setattr(bag_writer.BagWriter, "write", slow)
    recording = start()
    _put(recording, 200)
    with BagReader(recording.finish(within_s=0.3)) as reader:
        assert 0 < reader.message_count < 200
        assert "still waited" in reader.notes["ended_early"]


def test_a_bag_that_cannot_be_closed_is_an_error(start, monkeypatch):
    recording = start()

    def refuse(*arguments, **keywords):
        raise OSError("gone")

    monkeypatch.setattr(bag_writer.BagWriter, "close", refuse)
    monkeypatch.setattr(bag_writer.BagWriter, "salvage", refuse)
    with pytest.raises(BagError, match="could not be closed: gone"):
        recording.finish()
