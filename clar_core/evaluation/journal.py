"""Trials on disk, one line each as they finish: an evaluation that was cut off goes on where it stopped.

identity.json    what is evaluated; another evaluation does not go into the same folder, more of the same does
trials.jsonl     {"arm": ..., and the fields of Trial}
states/          states of failures, to be drawn again
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.evaluation.trials import Trial


class JournalError(ValueError):
    """The folder holds another evaluation, or its files are damaged. The message says what differs and what to do."""


class Journal:
    """The trials of one evaluation.

    Args:
        directory: made if it is not there.
        identity: JSON values that name what is evaluated; those of a journal that is there must be the same.
        restart: throw away what is there.
        extent: names of values that only tell how much is evaluated, see :func:`check_identity`.

    Raises:
        JournalError: the folder holds another evaluation, or a damaged one.
    """

    def __init__(
        self, directory: Path, identity: Mapping[str, Any], *, restart: bool = False, extent: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self._trials: dict[str, dict[int, Trial]] = {}
        self._path, self._states = directory / "trials.jsonl", directory / "states"
        directory.mkdir(parents=True, exist_ok=True)
        if restart:
            for leftover in (directory / "identity.json", self._path):
                leftover.unlink(missing_ok=True)
            shutil.rmtree(self._states, ignore_errors=True)
        check_identity(directory, identity, extent)
        self._read()

    def trials(self, arm: str) -> dict[int, Trial]:
        """Finished trials of an arm, by seed."""
        return dict(self._trials.get(arm, {}))

    def append(self, arm: str, trial: Trial) -> None:
        """Write a trial; it is on the disk when this returns."""
        if trial.states is not None:
            self._states.mkdir(exist_ok=True)
            np.savez_compressed(self._states_path(arm, trial.seed), states=trial.states)
        line = json.dumps({"arm": arm, **trial.to_dict()}) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._trials.setdefault(arm, {})[trial.seed] = trial

    def states(self, arm: str, seed: int) -> NDArray[np.float32] | None:
        """States (n, nq) of a failure, None where none were kept."""
        path = self._states_path(arm, seed)
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["states"])

    def _states_path(self, arm: str, seed: int) -> Path:
        return self._states / f"{arm.replace('/', '.')}.{seed}.npz"

    def _read(self) -> None:
        if not self._path.exists():
            return
        text = self._path.read_text(encoding="utf-8")
        whole, _, cut = text.rpartition("\n")
        if cut:
            # The writer was killed within a line: that trial is run again.
            self._path.write_text(whole + "\n" if whole else "", encoding="utf-8")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                values = json.loads(line)
                arm = values.pop("arm")
                trial = Trial.from_dict(values)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise JournalError(
                    f"{self._path}, line {number}: cannot be read ({error}); delete the line and its trial is run "
                    "again, or start again with --restart"
                ) from error
            self._trials.setdefault(arm, {})[trial.seed] = trial


def check_identity(directory: Path, identity: Mapping[str, Any], extent: Sequence[str] = ()) -> None:
    """Write what is evaluated into a folder, or compare it with what is written there.

    Args:
        extent: names of values that tell how much is evaluated and not what a trial is: they may differ. Of a mapping
            among them, what both have must be the same.

    Raises:
        JournalError: the folder holds another evaluation; the message names what differs.
    """
    path = directory / "identity.json"
    mine = json.loads(json.dumps(identity))
    if not path.exists():
        _write(path, mine)
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JournalError(f"{path}: not valid JSON ({error}); start again with --restart") from error
    for name in sorted(set(there) | set(mine)):
        was, now = there.get(name), mine.get(name)
        if name in extent:
            if not (isinstance(was, dict) and isinstance(now, dict)):
                continue
            mine[name] = was | now
            was, now = ({key: values[key] for key in sorted(was.keys() & now.keys())} for values in (was, now))
        if was != now:
            raise JournalError(
                f"{directory}: holds another evaluation: {name} was {was!r} and is {now!r} now; choose another "
                "--output, or throw it away (--restart, or delete the folder)"
            )
    if mine != there:
        _write(path, mine)


def _write(path: Path, identity: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(identity, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)
