"""Three minutes of soak: the whole stack, random faults, and the program that checks the log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(700)]


def test_random_faults_are_answered_and_nothing_moves_where_nothing_may(
    tmp_path: Path, fci_address: str, ros_domain: int
) -> None:
    arguments = ["--minutes", "3", "--every", "13", "--seed", "3", "--robot-ip", fci_address, "--output", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "soak.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    log = tmp_path / "stack.log"
    assert result.returncode == 0, (
        f"{result.stdout}\n{result.stderr}\n{log.read_text()[-3000:] if log.exists() else ''}"
    )
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum(entry["kind"] == "fault" for entry in entries) >= 8
    assert sum(entry["kind"] == "state" for entry in entries) > 1000
