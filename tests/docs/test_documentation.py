"""What the documentation tells people to type exists: commands, make targets, links, launch arguments, benchmarks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clar_core.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(bash|sh|console|)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _without_other_languages(text: str) -> str:
    """The text without blocks of programs: their closing fence would open a block otherwise."""
    return re.sub(r"^```(?!bash|sh|console)\w+\n.*?^```\n", "", text, flags=re.DOTALL | re.MULTILINE)


def typed(page: Path) -> list[str]:
    """Command lines of the page's shell blocks, without comments and continuation."""
    lines = []
    for _, block in FENCE.findall(_without_other_languages(page.read_text())):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s*(?:&&|;)\s*", line.split(" #")[0].strip()):
                if part.strip("\"'") and not part.startswith("#"):
                    lines.append(part)
    return lines


def commands(name: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for line in typed(page):
            try:
                words = shlex.split(line)
            except ValueError:  # a piece of a program in another language
                continue
            while words and re.match(r"^[A-Z_]+=", words[0]):
                words.pop(0)
            if words and words[0] == name:
                found.append((page.name, shlex.join(words)))
    return found


def test_there_is_something_to_check() -> None:
    assert len(commands("clar")) > 10
    assert len(commands("make")) > 5


@pytest.mark.parametrize(("page", "line"), commands("clar"))
def test_every_clar_command_exists(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line.replace("…", ""))[1:]
    if words and words[0].startswith("-"):
        return
    assert not isinstance(cli.find(words), int), f"{page}: {line}: {capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "line"), commands("make"))
def test_every_make_target_exists(page: str, line: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in shlex.split(line)[1:]:
        if "=" not in word and not word.startswith("-"):
            assert word in targets, f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), commands("ros2"))
def test_every_launch_file_and_argument_exists(page: str, line: str) -> None:
    words = shlex.split(line)
    if words[1:3] != ["launch", "clar"]:
        return
    source = (ROOT / "launch" / words[3]).read_text()
    for word in words[4:]:
        if ":=" in word:
            assert f'"{word.split(":=")[0]}"' in source, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not re.match(r"^[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "line"), [c for c in commands("make") if "B=" in c[1]])
def test_every_benchmark_exists(page: str, line: str) -> None:
    name = re.search(r"B=(\w+)", line)
    assert name is not None
    assert name[1] == "my_claim" or (ROOT / "benchmarks" / f"{name[1]}.py").exists(), f"{page}: {line}"
