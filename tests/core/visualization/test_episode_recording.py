"""A bag as a Rerun recording."""

import pytest

from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded_episode import record

pytest.importorskip("rerun")


def test_images_clouds_states_and_actions_are_all_in_the_recording(tmp_path):
    from clar_core.visualization.episode_recording import write_recording

    output = tmp_path / "view" / "episode.rrd"
    counts = write_recording(record(tmp_path, ticks=12), output, ObservationSpec())
    assert counts.depth_images == counts.clouds == 29
    assert counts.labels == 12
    assert counts.states > 20
    assert output.stat().st_size > 100_000


def test_every_second_image_halves_what_is_written(tmp_path):
    from clar_core.visualization.episode_recording import write_recording

    counts = write_recording(record(tmp_path, ticks=12), tmp_path / "e.rrd", ObservationSpec(), every=2)
    assert counts.depth_images == counts.clouds == 15
