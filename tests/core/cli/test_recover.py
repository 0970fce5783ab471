"""``clar data recover``, as it is typed."""

import pytest

from clar_core.cli.main import main
from clar_core.data.bag_writer import BagWriter
from clar_core.data.bags import BagError, BagReader
from tests.core.data.recorded import EPISODE, MS, STORE, episode


def _cut_off(folder):
    writer = BagWriter(folder, STORE)
    writer.add_topic(EPISODE.name, EPISODE.msgtype, EPISODE.qos)
    writer.write(EPISODE.name, 5 * MS, episode(0, "open_drawer"))
    writer.flush()
    writer.abort()


def test_a_cut_off_bag_is_finished_and_its_contents_told(tmp_path, capsys):
    _cut_off(tmp_path / "episode")
    assert main(["data", "recover", str(tmp_path / "episode.recording")]) == 0
    assert f"{tmp_path / 'episode'}: 0.0 s kept, 0 bytes lost (/clar/episode 1)" in capsys.readouterr().out
    with BagReader(tmp_path / "episode") as bag:
        assert bag.message_count == 1


def test_a_folder_stands_for_every_cut_off_bag_in_it(tmp_path, capsys):
    for name in ("a", "b"):
        _cut_off(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert main(["data", "recover", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "notes"]


def test_what_cannot_be_recovered_is_named_and_the_others_are_done(tmp_path, capsys):
    _cut_off(tmp_path / "good")
    (tmp_path / "empty.recording").mkdir()
    assert main(["data", "recover", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "good: " in said.out
    assert "empty.recording: expected one .mcap file to recover, found 0" in said.err
    assert "1 of 2 could not be recovered" in said.err


def test_the_command_that_an_error_names_is_one_that_helps(tmp_path):
    _cut_off(tmp_path / "episode")
    with pytest.raises(BagError) as caught:
        BagReader(tmp_path / "episode.recording")
    command = str(caught.value).split("`")[1].split()
    assert command[0] == "clar"
    assert main(command[1:]) == 0
    BagReader(tmp_path / "episode").close()


def test_a_folder_of_whole_bags_has_nothing_to_recover(tmp_path, capsys):
    _cut_off(tmp_path / "episode")
    assert main(["data", "recover", str(tmp_path)]) == 0
    assert main(["data", "recover", str(tmp_path)]) == 0
    assert "nothing to recover" in capsys.readouterr().out
