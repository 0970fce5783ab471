"""Small SVG charts for reports: drawn as text, so that a report is one file and needs no plotting library.

Colours are CSS variables of the page (see ``report.py``), so that charts follow its light and dark themes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from clar_core.evaluation.statistics import Percentiles

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 16.0, 30.0


@dataclass(frozen=True)
class Span:
    """A labelled stretch of a timeline, in seconds: one trial."""

    start_s: float
    end_s: float
    label: str
    good: bool


def histogram(values: Sequence[float], *, unit: str, marks: Mapping[str, float], bins: int = 40) -> str:
    """Histogram of a sample with named vertical marks (percentiles, bounds) in the sample's unit."""
    sample = np.asarray([v for v in values if math.isfinite(v)], dtype=np.float64)
    if not len(sample):
        return _empty("no samples")
    top = max(float(sample.max()), *marks.values()) * 1.05 if marks else float(sample.max()) * 1.05
    counts, edges = np.histogram(sample, bins=bins, range=(0.0, top))
    x, y = _Scale(0.0, top, LEFT, WIDTH - RIGHT), _Scale(0.0, float(counts.max()), HEIGHT - BOTTOM, TOP + 14)
    parts = [_x_axis(0.0, top, x, unit)]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            parts.append(
                f'<rect class="bar" x="{x(low) + 0.5:.1f}" y="{y(count):.1f}" width="{x(high) - x(low) - 1:.1f}" '
                f'height="{HEIGHT - BOTTOM - y(count):.1f}"><title>{low:.0f}-{high:.0f} {escape(unit)}: {count}</title>'
                "</rect>"
            )
    # Neighbouring marks put their names on two lines, so that they stay readable.
    for i, (name, value) in enumerate(sorted(marks.items(), key=lambda item: item[1])):
        parts.append(f'<line class="mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        anchor = "end" if x(value) > WIDTH - 130 else "start"
        offset = -4 if anchor == "end" else 4
        parts.append(_text(x(value) + offset, TOP + 9 + 13 * (i % 2), f"{name} {value:.0f} {unit}", anchor, "label"))
    return _svg("".join(parts), "Histogram")


def timeline(
    times_s: Sequence[float], values: Sequence[float], *, unit: str, bound: float, spans: Sequence[Span] = ()
) -> str:
    """Dots over time with a dashed bound; dots beyond it are drawn as misses. ``spans`` are shaded and labelled."""
    points = [(t, v) for t, v in zip(times_s, values, strict=True) if math.isfinite(t) and math.isfinite(v)]
    if not points:
        return _empty("no samples")
    ends = [t for t, _ in points] + [s.start_s for s in spans] + [s.end_s for s in spans]
    start, end = min(ends), max(max(ends), min(ends) + 1e-3)
    top = max(bound * 1.2, max(v for _, v in points) * 1.05)
    x, y = _Scale(start, end, LEFT, WIDTH - RIGHT), _Scale(0.0, top, HEIGHT - BOTTOM, TOP + 14)
    parts = []
    for span in spans:
        kind = "good" if span.good else "bad"
        parts.append(
            f'<rect class="span {kind}" x="{x(span.start_s):.1f}" y="{TOP}" '
            f'width="{max(1.0, x(span.end_s) - x(span.start_s)):.1f}" height="{HEIGHT - BOTTOM - TOP}"/>'
        )
        parts.append(_text((x(span.start_s) + x(span.end_s)) / 2, TOP + 10, span.label, "middle", "label"))
    parts += [_x_axis(start, end, x, "s"), _y_axis(top, y, unit)]
    parts.append(
        f'<line class="bound" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(bound):.1f}" y2="{y(bound):.1f}"/>'
        + _text(WIDTH - RIGHT - 2, y(bound) - 4, f"bound {bound:g} {unit}", "end", "label")
    )
    for t, v in points:
        kind = "dot" if v <= bound else "dot late"
        parts.append(f'<circle class="{kind}" cx="{x(t):.1f}" cy="{y(v):.1f}" r="{1.8 if v <= bound else 3}"/>')
    return _svg("".join(parts), "Timeline")


def stage_bars(stages: Mapping[str, Percentiles], *, unit: str = "ms") -> str:
    """One row a stage: a bar to its median and a whisker to its 99th percentile."""
    shown = {name: p for name, p in stages.items() if p.count}
    if not shown:
        return _empty("no timings")
    row, left = 24.0, 170.0
    height = TOP + row * len(shown) + BOTTOM
    top = max(p.p99 for p in shown.values()) * 1.02 or 1.0
    x = _Scale(0.0, top, left, WIDTH - 150)
    parts = [_x_axis(0.0, top, x, unit, height)]
    for i, (name, p) in enumerate(shown.items()):
        y = TOP + row * i
        middle = y + row / 2
        parts += [
            _text(left - 8, middle + 4, name, "end", "name"),
            f'<rect class="bar" x="{left}" y="{y + 5:.1f}" width="{max(1.0, x(p.p50) - left):.1f}" height="{row - 10}" '
            'rx="2"/>',
            f'<line class="whisker" x1="{x(p.p50):.1f}" x2="{x(p.p99):.1f}" y1="{middle}" y2="{middle}"/>',
            f'<line class="whisker" x1="{x(p.p99):.1f}" x2="{x(p.p99):.1f}" y1="{middle - 4}" y2="{middle + 4}"/>',
            _text(WIDTH - 144, middle + 4, f"{p.p50:.1f} / {p.p99:.1f} {unit}", "start", "label"),
        ]
    return _svg("".join(parts), "Stage durations, median and 99th percentile", height)


class _Scale:
    """Linear map from a data range to pixels."""

    def __init__(self, low: float, high: float, pixel_low: float, pixel_high: float) -> None:
        self._low, self._pixel_low = low, pixel_low
        self._factor = (pixel_high - pixel_low) / ((high - low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._pixel_low + (float(value) - self._low) * self._factor


def _ticks(low: float, high: float, count: int = 8) -> list[float]:
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / count))
    step = next(step * m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= count)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _x_axis(low: float, high: float, x: _Scale, unit: str, height: float = HEIGHT) -> str:
    y = height - BOTTOM
    parts = [f'<line class="axis" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}"/>']
    for tick in _ticks(low, high):
        parts.append(f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{y}" y2="{y + 4}"/>')
        parts.append(_text(x(tick), y + 16, f"{tick:g}", "middle"))
    parts.append(_text(x(high), y + 27, unit, "end"))
    return "".join(parts)


def _y_axis(high: float, y: _Scale, unit: str) -> str:
    parts = [_text(LEFT - 6, TOP + 2, unit, "end")]
    for tick in _ticks(0.0, high, 4):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:g}", "end"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(body: str, title: str, height: float = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _empty(reason: str) -> str:
    return f'<p class="empty">{escape(reason)}</p>'
