"""Reports are one well-formed file that loads nothing from anywhere and escapes what it is given."""

import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clar_core.evaluation import charts
from clar_core.evaluation.live import LiveRun, LiveTrial, SimSample, Tick
from clar_core.evaluation.live_report import write_report
from clar_core.evaluation.report import Report, Tile
from clar_core.evaluation.statistics import Percentiles

VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Notes tags that are not closed, and addresses that are not data."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.foreign += [v for k, v in attrs if k in ("src", "href", "poster") and not (v or "").startswith("data:")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def check(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.foreign == []
    assert "<script" not in page


def test_a_report_is_self_contained_and_balanced() -> None:
    report = Report("Title", "lead", verdict="ok", tone="good")
    report.tiles([Tile("a", "1", "note", "good"), Tile("b", "2")])
    report.heading("Section", "with a note")
    report.table(["x", "y"], [["1", "2"]], ["bad"])
    report.image(b"\xff\xd8", "picture")
    report.video(b"mp4", "film", poster=b"\xff\xd8")
    report.chart(charts.histogram([1.0, 2.0], unit="ms", marks={"p50": 1.5}))
    report.command("make demo")
    check(report.html())


def test_text_is_escaped() -> None:
    report = Report("<b>", "a & b", verdict="<i>")
    report.table(["<th>"], [["<script>alert(1)</script>"]])
    report.command("a < b")
    page = report.html()
    check(page)
    assert "&lt;script&gt;" in page


def test_a_report_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    Report("old").write(path)
    monkeypatch.setattr(Report, "html", lambda self: "\udcff")
    with pytest.raises(UnicodeEncodeError):
        Report("new").write(path)
    assert "old" in path.read_text()


@pytest.mark.parametrize(
    "svg",
    [
        charts.histogram([5.0] * 3, unit="ms", marks={}),
        charts.histogram([0.0, 1e4], unit="ms", marks={"p50": 1.0, "p99": 9e3}),
        charts.timeline([0.0, 1.0], [10.0, 200.0], unit="ms", bound=100.0, spans=[charts.Span(0.0, 1.0, "<1>", True)]),
        charts.timeline([3.0], [1.0], unit="ms", bound=100.0),
        charts.stage_bars({"cloud: crop": Percentiles.of([1.0, 2.0])}),
    ],
)
def test_charts_are_well_formed_and_inside_their_frame(svg: str) -> None:
    root = ET.fromstring(svg)
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert -1 <= float(element.get(name, 0)) <= width + 1
        for name in ("y", "y1", "y2", "cy"):
            assert -1 <= float(element.get(name, 0)) <= height + 1


def test_charts_of_nothing_say_so() -> None:
    assert "no samples" in charts.histogram([math.nan], unit="ms", marks={})
    assert "no samples" in charts.timeline([], [], unit="ms", bound=1.0)
    assert "no timings" in charts.stage_bars({"a": Percentiles.of([])})


def test_late_ticks_are_drawn_as_such() -> None:
    svg = charts.timeline([0.0, 1.0, 2.0], [10.0, 150.0, 20.0], unit="ms", bound=100.0)
    assert len(re.findall(r'class="dot late"', svg)) == 1


def test_the_report_of_a_live_run_works_without_pictures_and_without_ticks(tmp_path: Path) -> None:
    run = LiveRun("open_drawer", "shipped", "open the drawer")
    run.trials = [LiveTrial(0, 7, True, 5.0, "success", 100.0, 105.0)]
    write_report(run, tmp_path, command="clar demo", facts=[("machine", "a & b")])
    check((tmp_path / "report.html").read_text())
    run.ticks = [Tick(101.0, 100.96, 101.01, True, "")]
    run.states = [SimSample(101.0, 7, 0.5, (0.0,))]
    (tmp_path / "contact_sheet.jpg").write_bytes(b"\xff\xd8")
    write_report(run, tmp_path, command="clar demo", facts=[])
    page = (tmp_path / "report.html").read_text()
    check(page)
    assert "This run does not count" in page
    assert "data:image/jpeg" in page
