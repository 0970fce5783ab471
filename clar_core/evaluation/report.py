"""Self-contained HTML reports: one file that can be mailed, with pictures and video as data URIs and no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Tile:
    """One headline figure. ``note`` is the small print under it: the bound, the interval, the unit."""

    title: str
    value: str
    note: str = ""
    tone: Tone = "plain"


class Report:
    """A page built from top to bottom. Text is escaped; what is named ``html`` or ``svg`` is inserted as it is."""

    def __init__(self, title: str, lead: str = "", *, verdict: str = "", tone: Tone = "plain") -> None:
        badge = f'<span class="badge {tone}">{escape(verdict)}</span>' if verdict else ""
        self._title = title
        self._parts = [f"<header><h1>{escape(title)}{badge}</h1><p class='lead'>{escape(lead)}</p></header>"]

    def heading(self, text: str, note: str = "") -> None:
        """Open a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>" + (f"<p>{escape(note)}</p>" if note else ""))

    def tiles(self, tiles: Iterable[Tile]) -> None:
        """A row of headline figures."""
        cells = "".join(
            f'<div class="tile {t.tone}"><div class="title">{escape(t.title)}</div>'
            f'<div class="value">{escape(t.value)}</div><div class="note">{escape(t.note)}</div></div>'
            for t in tiles
        )
        self._parts.append(f'<div class="tiles">{cells}</div>')

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], tones: Sequence[Tone] = ()) -> None:
        """A table of text; ``tones`` colours the rows, one entry a row."""
        head = "".join(f"<th>{escape(c)}</th>" for c in columns)
        body = []
        for i, row in enumerate(rows):
            tone = tones[i] if i < len(tones) else "plain"
            body.append(f'<tr class="{tone}">' + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        )

    def chart(self, svg: str, caption: str = "") -> None:
        """A drawing of ``charts.py``."""
        self._parts.append(f"<figure>{svg}{_caption(caption)}</figure>")

    def image(self, data: bytes, caption: str = "", *, kind: Literal["jpeg", "png"] = "jpeg") -> None:
        """A picture, embedded."""
        source = _data_uri(data, f"image/{kind}")
        self._parts.append(f'<figure><img alt="{escape(caption)}" src="{source}">{_caption(caption)}</figure>')

    def video(self, data: bytes, caption: str = "", *, poster: bytes | None = None) -> None:
        """An MP4 video, embedded; ``poster`` is the JPEG shown before it plays."""
        frame = f' poster="{_data_uri(poster, "image/jpeg")}"' if poster else ""
        self._parts.append(
            f'<figure><video controls muted loop playsinline preload="metadata"{frame} '
            f'src="{_data_uri(data, "video/mp4")}"></video>{_caption(caption)}</figure>'
        )

    def command(self, text: str) -> None:
        """A command to copy."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def html(self) -> str:
        """The whole page."""
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(self._title)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
            f"<body><main>{''.join(self._parts)}</main></body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the page in one step: whoever opens it never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(self.html(), encoding="utf-8")
        os.replace(part, path)


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


_STYLE = """
:root{--ink:#1c2330;--soft:#5b6575;--line:#dfe3ea;--paper:#fff;--card:#f6f7f9;--blue:#2f6fde;--good:#1a7f47;
--bad:#c4352b;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b5;--line:#313846;--paper:#14171d;--card:#1c212a;
--blue:#6ea2ff;--good:#4cc38a;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:940px;margin:0 auto;padding:36px 20px 64px}
h1{font-size:28px;line-height:1.25;margin:0;display:flex;flex-wrap:wrap;gap:12px;align-items:center}
h2{font-size:18px;margin:40px 0 10px;padding-top:14px;border-top:1px solid var(--line)}
p{margin:0 0 12px;color:var(--soft)}
.lead{margin-top:8px;font-size:16px}
.badge{font-size:14px;font-weight:600;padding:3px 12px;border-radius:99px;border:1.5px solid currentColor;
color:var(--soft)}
.badge.good{color:var(--good)}.badge.bad{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:12px;margin:22px 0}
.tile{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--line);border-radius:10px;
padding:12px 14px}
.tile.good{border-left-color:var(--good)}.tile.bad{border-left-color:var(--bad)}
.tile .title{font-size:13px;color:var(--soft)}
.tile .value{font-size:24px;font-weight:650;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.tile .note{font-size:12.5px;color:var(--soft)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-size:13px;font-weight:600;text-align:left;color:var(--soft);border-bottom:1px solid var(--line);
padding:6px 10px}
td{border-bottom:1px solid var(--line);padding:7px 10px}
tr td:first-child{border-left:3px solid transparent}
tr.good td:first-child{border-left-color:var(--good)}tr.bad td:first-child{border-left-color:var(--bad)}
figure{margin:16px 0}
figcaption{font-size:13px;color:var(--soft);margin-top:6px}
img,video{display:block;width:100%;height:auto;border-radius:10px;border:1px solid var(--line)}
svg{display:block;width:100%;height:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg .name{font-size:12px;fill:var(--ink)}
svg .label{fill:var(--ink)}
svg .axis,svg .grid{stroke:var(--line)}svg .grid{stroke-dasharray:2 4}
svg .bar{fill:var(--blue);opacity:.85}svg .whisker{stroke:var(--ink);stroke-width:1.2}
svg .mark{stroke:var(--ink);stroke-dasharray:4 3}svg .bound{stroke:var(--bad);stroke-dasharray:6 4}
svg .dot{fill:var(--blue)}svg .dot.late{fill:var(--bad)}
svg .span{opacity:.13}svg .span.good{fill:var(--good)}svg .span.bad{fill:var(--bad)}
.empty{font-style:italic}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;overflow-x:auto;
font:13px/1.5 ui-monospace,monospace}
"""
