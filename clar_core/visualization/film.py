"""Films and contact sheets of recorded trials: states in, JPEG frames, an MP4 and one picture out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from clar_core.visualization.studio import Studio
from clar_core.workers import map_unordered

Color = tuple[int, int, int]

_INK: Color = (28, 35, 48)
_SOFT: Color = (91, 101, 117)
_GOOD: Color = (26, 127, 71)
_BAD: Color = (196, 53, 43)
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Take:
    """What was recorded of one trial.

    Attributes:
        title: caption, for example "trial 1, seed 17".
        success: outcome.
        times_s: (n,) seconds since the trial began.
        qpos: (n, nq) generalised positions of the cell.
    """

    title: str
    success: bool
    times_s: NDArray[np.float64]
    qpos: NDArray[np.float64]

    def thinned(self, every: int) -> Take:
        """Every n-th state, and the last one, which shows the outcome."""
        keep = np.unique(np.r_[np.arange(0, len(self.times_s), every), len(self.times_s) - 1])
        return Take(self.title, self.success, self.times_s[keep], self.qpos[keep])


def draw(task: str, takes: Sequence[Take], *, workers: int | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Draw takes in worker processes; yields (index of the take, a JPEG for each of its states) as they finish."""
    jobs = [i for i, take in enumerate(takes) if len(take.times_s)]
    indexed = ((i, takes[i]) for i in jobs)
    for (index, _), frames in map_unordered(
        _draw_take, indexed, workers=workers, setup=_set_up, setup_arguments=(task,)
    ):
        yield index, frames


def captioned(
    takes: Sequence[Take], frames: Sequence[Sequence[bytes]], *, hold: int = 8
) -> Iterator[NDArray[np.uint8]]:
    """The frames of all takes in order, with title and time; the outcome is shown for ``hold`` frames."""
    for take, pictures in zip(takes, frames, strict=True):
        for i, picture in enumerate(pictures):
            last = i == len(pictures) - 1
            image = _caption(picture, take, float(take.times_s[i]), last)
            for _ in range(hold if last else 1):
                yield image


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: int) -> None:
    """Encode frames (height, width, 3) uint8 RGB of one size as an H.264 MP4 that browsers play. Written in one step.

    Raises:
        ValueError: there is no frame.
    """
    import av

    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "24", "preset": "veryfast"})
            stream.pix_fmt = "yuv420p"
            for count, frame in enumerate(frames, start=1):
                if count == 1:
                    # The format halves the colour planes: sides must be even.
                    stream.height, stream.width = frame.shape[0] & ~1, frame.shape[1] & ~1
                even = np.ascontiguousarray(frame[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            if not count:
                raise ValueError(f"{path}: there is no frame to write")
            container.mux(stream.encode())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, path)


def contact_sheet(
    takes: Sequence[Take], frames: Sequence[Sequence[bytes]], *, columns: int = 6, width: int = 1500
) -> bytes:
    """One row a trial, evenly spread over its time, the last picture being the last state. JPEG."""
    rows = [(take, _spread(pictures, columns)) for take, pictures in zip(takes, frames, strict=True) if pictures]
    if not rows:
        raise ValueError("there is no picture for a contact sheet")
    margin, gap, title = 18, 8, 34
    cell = (width - 2 * margin - (columns - 1) * gap) // columns
    high = round(cell * 3 / 4)
    sheet = Image.new("RGB", (width, 2 * margin + len(rows) * (title + high + gap) - gap), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for row, (take, pictures) in enumerate(rows):
        top = margin + row * (title + high + gap)
        color, verdict = (_GOOD, "success") if take.success else (_BAD, "failure")
        pen.text((margin, top + 4), take.title, fill=_INK, font=_font(18))
        right = margin + pen.textlength(take.title, font=_font(18)) + 14
        pen.text((right, top + 4), f"{verdict} after {take.times_s[-1]:.1f} s", fill=color, font=_font(18))
        for column, picture in enumerate(pictures):
            image = ImageOps.fit(Image.open(io.BytesIO(picture)), (cell, high), Image.Resampling.LANCZOS)
            left = margin + column * (cell + gap)
            sheet.paste(image, (left, top + title))
        pen.rectangle((margin - 10, top + title, margin - 7, top + title + high - 1), fill=color)
    return _jpeg(sheet)


def _spread(pictures: Sequence[bytes], columns: int) -> list[bytes]:
    chosen = np.unique(np.linspace(0, len(pictures) - 1, columns).round().astype(int))
    return [pictures[i] for i in chosen]


def _caption(frame: bytes, take: Take, time_s: float, last: bool) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(frame)).convert("RGB")
    pen = ImageDraw.Draw(image, "RGBA")
    size = max(12, image.height // 26)
    font, pad = _font(size), size // 2
    text = f"{take.title}   {time_s:4.1f} s"
    pen.rounded_rectangle(
        (pad, pad, 3 * pad + pen.textlength(text, font=font), 3 * pad + size), pad, fill=(255, 255, 255, 200)
    )
    pen.text((2 * pad, 1.7 * pad), text, fill=_INK, font=font)
    if last:
        verdict, color = ("success", _GOOD) if take.success else ("failure", _BAD)
        left = image.width - 3 * pad - pen.textlength(verdict, font=font)
        pen.rounded_rectangle((left, pad, image.width - pad, 3 * pad + size), pad, fill=(*color, 230))
        pen.text((left + pad, 1.7 * pad), verdict, fill=(255, 255, 255), font=font)
    return np.asarray(image, dtype=np.uint8)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


_studio: Studio


def _set_up(task: str) -> None:
    global _studio
    _studio = Studio(task)


def _draw_take(job: tuple[int, Take]) -> list[bytes]:
    _, take = job
    return [_jpeg(Image.fromarray(_studio.draw(qpos))) for qpos in take.qpos]
