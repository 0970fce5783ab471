"""Things of the machine that only one test may use at a time, leased by file locks.

Several test processes (xdist workers, a second checkout, a colleague on the same machine) run beside each other without
hearing each other's ROS traffic or fighting for the fixed FCI ports. A lock disappears with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Above 101 the ports of a domain reach into Linux' ephemeral range. 0-9 are left to people at work on the machine.
ROS_DOMAINS = range(10, 102)
FCI_ADDRESSES = tuple(f"127.0.1.{host}" for host in range(1, 255))
FCI_PORTS = (1337, 1338)


@contextmanager
def lease(kind: str, names: Iterable[str], usable: Callable[[str], bool] = lambda name: True) -> Iterator[str]:
    """The first name that nobody else has leased and that is usable; given back on exit.

    Raises:
        RuntimeError: every name is taken.
    """
    folder = Path(tempfile.gettempdir()) / f"clar-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for name in names:
        descriptor = os.open(folder / f"{kind}-{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if not usable(name):
            os.close(descriptor)
            continue
        try:
            yield name
        finally:
            os.close(descriptor)
        return
    raise RuntimeError(f"every {kind} is in use; the locks are in {folder}: end the test runs that hold them")


def fci_ports_are_free(address: str) -> bool:
    """Whether a robot and a gripper server can listen on this loopback address."""
    for port in FCI_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
