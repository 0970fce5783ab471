"""Snapshots cross from writer to reader whole, newest first, and only into the scene they were taken of."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from clar_core.simulation.live_snapshot import STATE_PARTS, SnapshotRing

_SCENE = """<mujoco><worldbody>
<body name="cube"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
<body name="marker" mocap="true"><geom type="box" size=".1 .1 .1"/></body>
</worldbody></mujoco>"""


@pytest.fixture
def ring() -> Iterator[SnapshotRing]:
    ring = SnapshotRing.create()
    yield ring
    ring.close()


def _write(ring: SnapshotRing, state: np.ndarray, seed: int = 0) -> None:
    ring.write(
        state,
        simulated_time_s=1.5,
        monotonic_ns=11,
        wall_ns=22,
        real_time_factor=0.9,
        epoch=3,
        seed=seed,
        client_connected=True,
    )


def test_there_is_no_snapshot_before_the_first(ring: SnapshotRing) -> None:
    assert ring.read() is None


def test_reader_gets_the_newest_snapshot_with_all_its_fields(ring: SnapshotRing) -> None:
    for seed in range(200):
        _write(ring, np.full(9, float(seed)), seed)
    reader = SnapshotRing.attach(os.dup(ring.fileno()))
    snapshot = reader.read()
    reader.close()
    assert snapshot is not None
    assert (snapshot.number, snapshot.seed, snapshot.epoch, snapshot.client_connected) == (200, 199, 3, True)
    assert (snapshot.simulated_time_s, snapshot.monotonic_ns, snapshot.wall_ns) == (1.5, 11, 22)
    assert snapshot.real_time_factor == pytest.approx(0.9)
    assert snapshot.state.tolist() == [199.0] * 9


def test_snapshots_are_never_torn_while_the_writer_runs(ring: SnapshotRing) -> None:
    stop = threading.Event()

    def write() -> None:
        value = 0.0
        while not stop.is_set():
            value += 1.0
            _write(ring, np.full(500, value))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = 0
        while seen < 300:
            snapshot = ring.read()
            if snapshot is not None:
                seen += 1
                assert (snapshot.state == snapshot.state[0]).all()
    finally:
        stop.set()
        writer.join()


def test_applying_a_snapshot_moves_bodies_and_mocap_bodies() -> None:
    model = mujoco.MjModel.from_xml_string(_SCENE)
    source, target = mujoco.MjData(model), mujoco.MjData(model)
    source.qpos[:3] = (0.1, 0.2, 0.3)
    source.mocap_pos[0] = (0.4, 0.5, 0.6)
    state = np.zeros(mujoco.mj_stateSize(model, STATE_PARTS))
    mujoco.mj_getState(model, source, state, STATE_PARTS)
    ring = SnapshotRing.create()
    _write(ring, state)
    snapshot = ring.read()
    ring.close()
    assert snapshot is not None
    snapshot.apply(model, target)
    assert target.body("cube").xpos.tolist() == [0.1, 0.2, 0.3]
    assert target.body("marker").xpos.tolist() == [0.4, 0.5, 0.6]


def test_a_snapshot_of_another_scene_is_refused(ring: SnapshotRing) -> None:
    model = mujoco.MjModel.from_xml_string(_SCENE)
    _write(ring, np.zeros(5))
    snapshot = ring.read()
    assert snapshot is not None
    with pytest.raises(ValueError, match="another scene: it holds 5 numbers"):
        snapshot.apply(model, mujoco.MjData(model))


def test_a_state_too_large_for_a_slot_is_refused(ring: SnapshotRing) -> None:
    with pytest.raises(ValueError, match="513 numbers"):
        _write(ring, np.zeros(513))
