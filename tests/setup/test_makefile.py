import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
DOCUMENTS = [ROOT / "README.md", ROOT / ".ci" / "run", *sorted((ROOT / "docs").glob("*.md"))]


def test_help_tells_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"^  make ([a-z-]+) ", shown.stdout, re.MULTILINE)) == TARGETS


def test_every_target_is_phony() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


@pytest.mark.parametrize("target", ["demo", "test", "bench", "demo-train"])
def test_targets_of_a_newcomer_set_the_machine_up_first(target: str) -> None:
    assert re.search(rf"^{target}: setup\b", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_targets_that_exist(document: Path) -> None:
    code = re.findall(r"`make ([a-z-]+)[^`]*`|^make ([a-z-]+)", document.read_text(), re.MULTILINE)
    assert {first or second for first, second in code} <= TARGETS


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make")]
    assert [line.split()[:2] for line in commands] == [["make", "setup"], ["make", "test"]]
