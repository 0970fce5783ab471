"""The live front of the simulated cell: physics in real time in a process of its own, behind an FCI server.

A franky client drives the arm over the real protocol, at the address it is given. This class starts and ends the
physics process, resets the objects, and reads snapshots, from which images are rendered and success is judged::

    with LiveCell(task="place_cube_in_basin", seed=7) as cell:
        view = LiveView(cell.task)
        view.show(cell.snapshot())
        image = view.depth()
"""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

from clar_core.simulation.live_physics import PhysicsSettings, check_ports_free
from clar_core.simulation.live_snapshot import Snapshot, SnapshotRing
from clar_core.simulation.tasks import get_task

DEFAULT_ADDRESS = "127.0.0.1"


class LiveCellError(RuntimeError):
    """The physics process did not start, refused a request, or has died; the message says which and what to do."""


class LiveCell:
    """Handle of a running live cell. The physics process ends with it, and with this process, however that ends.

    Args:
        task: registered task whose objects stand in the cell.
        seed: seed of the first start.
        address: where the control interface listens (ports 1337 and 1338), an address of this machine.
        start_limit_s: how long the process may take to come up.

    Raises:
        LookupError: unknown task.
        OSError: the address is in use, or not this machine's.
        LiveCellError: the process did not come up.
    """

    def __init__(
        self, task: str, seed: int = 0, *, address: str = DEFAULT_ADDRESS, start_limit_s: float = 60.0
    ) -> None:
        get_task(task)
        check_ports_free(address)
        self.address = address
        self._task = task
        self._lock = threading.Lock()
        self._ring = SnapshotRing.create()
        self._connection, child_end = socket.socketpair()
        with child_end:
            settings = PhysicsSettings(task, seed, address, self._ring.fileno(), child_end.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", PhysicsSettings.__module__, json.dumps(dataclasses.asdict(settings))],
                stdin=subprocess.DEVNULL,
                pass_fds=(self._ring.fileno(), child_end.fileno()),
            )
        self._replies = self._connection.makefile("rb")
        try:
            self._receive("ready", start_limit_s)
        except BaseException:
            self.close()
            raise

    @property
    def task(self) -> str:
        """Name of the task whose objects stand in the cell."""
        return self._task

    @property
    def pid(self) -> int:
        """Process id of the physics process."""
        return self._process.pid

    def reset(self, seed: int, task: str = "", *, limit_s: float = 30.0) -> None:
        """Put the objects where ``seed`` draws them; the arm stays. Another ``task`` loads another scene.

        Returns when the snapshots show it.

        Raises:
            LookupError: unknown task.
            LiveCellError: the process refused, has died, or did not answer in time.
        """
        if task:
            get_task(task)
        with self._lock:
            before = self.snapshot().number
            self._send(request="reset", task=task, seed=seed)
            self._task = str(self._receive("done", limit_s)["task"])
            self._await_snapshot_after(before, limit_s)

    def snapshot(self) -> Snapshot:
        """The newest state of the cell, at most a few milliseconds old.

        Raises:
            LiveCellError: the physics process has died.
        """
        self.check()
        snapshot = self._ring.read()
        if snapshot is None:
            raise LiveCellError("the physics process of the simulated cell has published no state yet")
        return snapshot

    def check(self) -> None:
        """Raise LiveCellError when the physics process has ended."""
        status = self._process.poll()
        if status is not None:
            raise LiveCellError(
                f"the physics process of the simulated cell (pid {self.pid}) has ended with status {status}, see its"
                " output above; restart the simulator"
            )

    def close(self, limit_s: float = 2.0) -> None:
        """Stop the physics process and wait for its end; kill it when it takes longer than ``limit_s``. Idempotent."""
        if self._connection.fileno() == -1:
            return
        if self._process.poll() is None:
            try:
                self._send(request="stop")
                self._process.wait(limit_s)
            except (LiveCellError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        self._replies.close()
        self._connection.close()
        self._ring.close()

    def __enter__(self) -> LiveCell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, **message: Any) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            self.check()
            raise LiveCellError(f"the physics process does not listen: {error}") from error

    def _receive(self, expected: str, limit_s: float) -> dict[str, Any]:
        self._connection.settimeout(limit_s)
        try:
            line = self._replies.readline()
        except TimeoutError as error:
            raise LiveCellError(
                f"the physics process of the simulated cell (pid {self.pid}) did not answer within {limit_s:.0f} s"
            ) from error
        if not line:
            self._process.wait()
            self.check()
        message: dict[str, Any] = json.loads(line)
        if message["event"] != expected:
            raise LiveCellError(str(message.get("message") or message))
        return message

    def _await_snapshot_after(self, number: int, limit_s: float) -> None:
        # The reply is sent between two ticks, so the first snapshot written after it shows the new start.
        after = max(number, self.snapshot().number)
        deadline = time.monotonic() + limit_s
        while self.snapshot().number <= after and time.monotonic() < deadline:
            time.sleep(0.001)
