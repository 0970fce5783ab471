"""The operator's verdict by one key, on a terminal of the test's own."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
import threading
from collections.abc import Iterator

import pytest

from clar.evaluation.operator import OperatorKeys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The operator's side of a terminal that is this process's standard input."""
    operator, program = pty.openpty()
    stream = os.fdopen(program, "r")
    monkeypatch.setattr(sys, "stdin", stream)
    yield operator
    stream.close()
    os.close(operator)


def test_s_is_success_f_is_failure_and_other_keys_are_nothing(terminal: int) -> None:
    verdicts: list[bool] = []
    three = threading.Event()

    def note(verdict: bool) -> None:
        verdicts.append(verdict)
        if len(verdicts) == 3:
            three.set()

    with OperatorKeys(note):
        os.write(terminal, b"s?xfS")
        assert three.wait(30.0), verdicts
    assert verdicts == [True, False, True]


def test_the_terminal_is_left_as_it_was(terminal: int) -> None:
    before = termios.tcgetattr(sys.stdin)
    with OperatorKeys(lambda verdict: None):
        assert termios.tcgetattr(sys.stdin) != before
    assert termios.tcgetattr(sys.stdin) == before


def test_without_a_terminal_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s"))
    with OperatorKeys(lambda verdict: pytest.fail("nobody pressed a key")):
        pass
