"""Films and contact sheets can be opened again and show what they were given."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clar_core.visualization import film
from clar_core.visualization.film import Take


def take(count: int, *, success: bool = True) -> Take:
    return Take("trial 1, seed 7", success, np.arange(count) * 0.1, np.zeros((count, 3)))


def picture(value: int, size: tuple[int, int] = (96, 54)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_thinning_keeps_the_first_and_the_last_state() -> None:
    assert take(10).thinned(4).times_s == pytest.approx([0.0, 0.4, 0.8, 0.9])
    assert take(9).thinned(4).times_s == pytest.approx([0.0, 0.4, 0.8])
    assert len(take(1).thinned(5).times_s) == 1


def test_a_video_can_be_decoded_and_holds_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "video.mp4"
    frames = film.captioned([take(5)], [[picture(40 * i) for i in range(5)]], hold=3)
    film.write_video(path, frames, fps=10)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 7
    assert decoded[0].shape == (54, 96, 3)
    assert decoded[0][40:, 10:80].mean() < 20 < decoded[3][40:, 10:80].mean()


def test_odd_sizes_are_cut_to_even_ones(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    film.write_video(path, (np.zeros((53, 95, 3), np.uint8) for _ in range(3)), fps=10)
    with av.open(str(path)) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (52, 94)


def test_a_video_without_frames_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame"):
        film.write_video(tmp_path / "video.mp4", [], fps=10)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_frame_leaves_no_half_written_video(tmp_path: Path) -> None:
    def frames():
        yield np.zeros((54, 96, 3), np.uint8)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        film.write_video(tmp_path / "video.mp4", frames(), fps=10)
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_has_a_row_a_trial_and_leaves_out_trials_without_pictures() -> None:
    frames = [[picture(200)] * 9, [], [picture(20)] * 2]
    sheet = Image.open(io.BytesIO(film.contact_sheet([take(9), take(0), take(2, success=False)], frames, width=600)))
    one = Image.open(io.BytesIO(film.contact_sheet([take(9)], frames[:1], width=600)))
    assert sheet.width == one.width == 600
    assert sheet.height > 1.6 * one.height


def test_a_contact_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture"):
        film.contact_sheet([take(0)], [[]])
