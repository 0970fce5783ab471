"""Launches that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract import launching


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., launching.Launch]]:
    """``launch(entities, *arguments, imports=, environment=)`` runs a launch file of these entities."""
    pytest.importorskip("launch")
    running: list[launching.Launch] = []

    def run(entities: str, *arguments: str, **options: Any) -> launching.Launch:
        running.append(launching.launch(tmp_path, entities, *arguments, **options))
        return running[-1]

    yield run
    for one in running:
        one.kill()
