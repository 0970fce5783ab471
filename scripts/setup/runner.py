"""Steps that run once, say what they do, and pick up where they were interrupted."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Some commands are silent for minutes (unpacking torch): progress is shown by the clock, not by their output.
_HEARTBEAT_S = 20.0
_TERMINAL_HEARTBEAT_S = 0.5
_MARK = "CLAR_SETUP"  # in the environment of every child: whose set-up it belongs to


class SetupError(Exception):
    """A step failed; the message says what was wanted, what was found and what to do next."""


@dataclass(frozen=True)
class Step:
    """One step of the set-up.

    Attributes:
        name: short, a file name.
        title: what the user reads.
        inputs: texts and files that decide the outcome; the step runs again when one of them changes.
        action: does it; gets a Console, and whether an earlier attempt was cut off.
        products: what must exist afterwards; the step runs again when one is gone.
    """

    name: str
    title: str
    inputs: Callable[[], Sequence[str | Path]]
    action: Callable[[Console, bool], None]
    products: tuple[Path, ...] = ()


class Console:
    """Progress of one step: output of its commands goes to a log file, the last line of it to the terminal."""

    def __init__(self, title: str, log: Path, mark: str) -> None:
        self._title = title
        self._mark = mark
        self._start = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._last_line = ""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        print(title, flush=True)

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> bool:
        """Run a command without input; returns whether it succeeded. Its output is in the log."""
        environment = {**(os.environ if env is None else env), _MARK: self._mark}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                text=True,
                errors="replace",
            ) as process:
                assert process.stdout is not None
                with self._heartbeat():
                    for line in process.stdout:
                        log.write(line)
                        self._last_line = line.strip()
        return process.returncode == 0

    def finish(self, outcome: str) -> None:
        """Close the step with its outcome and how long it took."""
        self._clear()
        print(f"      {outcome} in {time.monotonic() - self._start:.1f} s", flush=True)

    def tail(self, lines: int = 12) -> str:
        """The end of the log, for an error message."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-lines:])

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        ended = threading.Event()
        period_s = _TERMINAL_HEARTBEAT_S if self._terminal else _HEARTBEAT_S

        def beat() -> None:
            while not ended.wait(period_s):
                self._clear()
                text = f"      {time.monotonic() - self._start:4.0f} s  {self._last_line[:100]}"
                print(text, end="" if self._terminal else "\n", flush=True)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", flush=True)


def run_steps(steps: Sequence[Step], state: Path) -> int:
    """Run every step whose inputs changed or whose products are gone, and all after it; returns how many ran.

    A stamp holds the hash of a step's inputs and of all steps before it, and is written when the step is complete. A
    mark says that a step is under way: found at the start of one, it was cut off.

    Raises:
        SetupError: a step failed; the ones before it are kept.
    """
    state.mkdir(parents=True, exist_ok=True)
    digest = ""
    ran = 0
    for number, step in enumerate(steps, start=1):
        digest = _digest(digest, step.inputs())
        stamp = state / f"{step.name}.stamp"
        done = stamp.is_file() and stamp.read_text(encoding="utf-8") == digest
        if done and not ran and all(product.exists() for product in step.products):
            continue
        mark = state / f"{step.name}.running"
        interrupted = mark.exists()
        console = Console(f"[{number}/{len(steps)}] {step.title}", state / f"{step.name}.log", mark=str(state))
        stamp.unlink(missing_ok=True)
        mark.touch()
        try:
            step.action(console, interrupted)
        except SetupError:
            mark.unlink()  # it came to its end, if not to a good one
            raise
        temporary = stamp.with_suffix(".new")
        temporary.write_text(digest, encoding="utf-8")
        temporary.replace(stamp)
        mark.unlink()
        console.finish("done")
        ran += 1
    return ran


def _digest(previous: str, inputs: Sequence[str | Path]) -> str:
    digest = hashlib.sha256(previous.encode())
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """One set-up of a checkout at a time: wait for another one, end what a killed one left running."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up of this checkout is running: waiting for it ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        while left := _children_of(str(state)):  # again, for what they started meanwhile
            print(f"ending processes left by a set-up that was killed: {' '.join(map(str, left))}", flush=True)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        yield


def _children_of(mark: str) -> list[int]:
    """Processes that carry the mark of this set-up; whoever holds the lock has none yet."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended meanwhile, or somebody else's
            if wanted in variables:
                found.append(int(entry.name))
    return found
