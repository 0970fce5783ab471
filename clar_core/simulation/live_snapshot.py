"""State of the simulated cell shared between the physics process and its readers, without locks or names.

An anonymous memory file holds a ring of snapshots. The writer fills the next slot and then publishes its number; a
reader copies the newest slot and copies again in the rare case that the writer came round meanwhile. Neither ever waits
for the other, and nothing is left behind in the file system when a process is killed.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

STATE_PARTS = int(
    mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_QVEL
    | mujoco.mjtState.mjSTATE_MOCAP_POS
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT
)
"""The parts of MuJoCo's state that a snapshot carries: what it takes to draw the cell and to judge a task."""

_CAPACITY = 512
_SLOTS = 64
_PAGE_ALIGN = 64

_SLOT_DTYPE = np.dtype(
    [
        ("number", "<u8"),
        ("simulated_time_s", "<f8"),
        ("monotonic_ns", "<i8"),
        ("wall_ns", "<i8"),
        ("real_time_factor", "<f8"),
        ("epoch", "<i8"),
        ("seed", "<i8"),
        ("client_connected", "<i8"),
        ("size", "<i8"),
        ("state", "<f8", (_CAPACITY,)),
        ("number_again", "<u8"),
    ]
)
SNAPSHOT_BYTES = _PAGE_ALIGN + _SLOTS * _SLOT_DTYPE.itemsize


@dataclass(frozen=True)
class Snapshot:
    """One instant of the simulated cell."""

    number: int
    """Counts the snapshots from 1."""
    simulated_time_s: float
    monotonic_ns: int
    """CLOCK_MONOTONIC when the state was taken."""
    wall_ns: int
    """Wall clock (nanoseconds since the epoch) when the state was taken: the stamp of an image rendered from it."""
    real_time_factor: float
    """Simulated seconds per wall second over the last second."""
    epoch: int
    """Counts loaded scenes: another epoch means another model to render with."""
    seed: int
    """Seed of the last reset."""
    client_connected: bool
    """Whether a client holds the control interface."""
    state: NDArray[np.float64]
    """MuJoCo state of the parts ``STATE_PARTS``, to be written into a copy of the scene with ``apply``."""

    def apply(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Put ``data`` into this state and compute everything that follows from it (kinematics, cameras, contacts).

        Raises:
            ValueError: ``model`` is another scene than the one the snapshot was taken of.
        """
        expected = mujoco.mj_stateSize(model, STATE_PARTS)
        if len(self.state) != expected:
            raise ValueError(f"snapshot of another scene: it holds {len(self.state)} numbers, this scene {expected}")
        mujoco.mj_setState(model, data, self.state, STATE_PARTS)
        mujoco.mj_forward(model, data)


class SnapshotRing:
    """The shared ring. Create it in the parent, pass ``fileno()`` to the child, and open it there with ``attach``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SNAPSHOT_BYTES)
        self._published: NDArray[np.uint64] = np.ndarray((1,), dtype="<u8", buffer=self._memory)
        self._slots: NDArray[np.void] = np.ndarray(
            (_SLOTS,), dtype=_SLOT_DTYPE, buffer=self._memory, offset=_PAGE_ALIGN
        )
        self._fields = [{name: self._slots[name][i : i + 1] for name in _SLOT_DTYPE.names or ()} for i in range(_SLOTS)]
        self._number = 0

    @classmethod
    def create(cls) -> SnapshotRing:
        """A new ring in anonymous memory, which vanishes with its last user."""
        descriptor = os.memfd_create("clar-cell", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, SNAPSHOT_BYTES)
        return cls(descriptor)

    @classmethod
    def attach(cls, descriptor: int) -> SnapshotRing:
        """The ring behind an inherited descriptor."""
        return cls(descriptor)

    def fileno(self) -> int:
        """The descriptor of the memory, to be inherited by the child."""
        return self._descriptor

    def write(
        self,
        state: NDArray[np.float64],
        *,
        simulated_time_s: float,
        monotonic_ns: int,
        wall_ns: int,
        real_time_factor: float,
        epoch: int,
        seed: int,
        client_connected: bool,
    ) -> None:
        """Publish one snapshot. Only one process may write.

        Raises:
            ValueError: the scene's state is larger than a slot.
        """
        if len(state) > _CAPACITY:
            raise ValueError(f"the scene's state has {len(state)} numbers, a snapshot holds {_CAPACITY}")
        self._number += 1
        number = self._number
        slot = self._fields[number % _SLOTS]
        slot["number"][0] = number
        slot["simulated_time_s"][0] = simulated_time_s
        slot["monotonic_ns"][0] = monotonic_ns
        slot["wall_ns"][0] = wall_ns
        slot["real_time_factor"][0] = real_time_factor
        slot["epoch"][0] = epoch
        slot["seed"][0] = seed
        slot["client_connected"][0] = client_connected
        slot["size"][0] = len(state)
        slot["state"][0, : len(state)] = state
        slot["number_again"][0] = number
        self._published[0] = number

    def read(self) -> Snapshot | None:
        """The newest snapshot, or None before the first."""
        while True:
            number = int(self._published[0])
            if number == 0:
                return None
            slot = self._slots[number % _SLOTS].copy()
            if int(slot["number"]) == number == int(slot["number_again"]) and (
                int(self._published[0]) - number < _SLOTS - 1
            ):
                break
        return Snapshot(
            number=number,
            simulated_time_s=float(slot["simulated_time_s"]),
            monotonic_ns=int(slot["monotonic_ns"]),
            wall_ns=int(slot["wall_ns"]),
            real_time_factor=float(slot["real_time_factor"]),
            epoch=int(slot["epoch"]),
            seed=int(slot["seed"]),
            client_connected=bool(slot["client_connected"]),
            state=np.array(slot["state"][: int(slot["size"])]),
        )

    def close(self) -> None:
        """Release the memory. Snapshots read before stay valid."""
        del self._published, self._slots, self._fields
        self._memory.close()
        os.close(self._descriptor)
