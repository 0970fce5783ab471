"""The contract is covered: every row has a test here or elsewhere, and the page says so."""

import re
from pathlib import Path

from tests.faults.contract import CONTRACT, ELSEWHERE, Entry, page

ROOT = Path(__file__).parents[2]
HERE = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


def test_every_row_is_provoked_here_or_tested_elsewhere() -> None:
    here = {int(row) for row in re.findall(r"\benter\(\s*(\d+)", HERE)}
    here |= {int(row) for row in re.findall(r'\((\d+), "(?:policy|teleop|freeze|empty|unplug)"', HERE)}
    assert here | set(ELSEWHERE) >= set(CONTRACT)


def test_the_tests_named_elsewhere_exist() -> None:
    for tests in ELSEWHERE.values():
        for test in tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists(), test
            assert not name or f"def {name}(" in (ROOT / path).read_text(), test


def test_the_page_shows_every_row_and_measured_times() -> None:
    text = page([Entry(11, "kill -9 | of it", "HALTED: silence", 0.312, 0.5)], "a machine")
    assert "| 11 | kill -9 / of it | 312 ms (robot at 0.5 of its speed) | HALTED: silence |" in text
    for row in CONTRACT:
        assert f"\n| {row} | " in text
