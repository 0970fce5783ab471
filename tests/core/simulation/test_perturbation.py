"""What disturbs a demonstrator."""

from dataclasses import replace

import numpy as np

from clar_core.simulation.perturbation import NO_PERTURBATION, Perturbation, Perturber

OPEN = np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
CLOSED = np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
POSE = np.eye(4)
POSE[:3, 3] = 0.5, 0.1, 0.03
PUSHES = Perturbation(rate=0.3, ticks=4)
MISSES = Perturbation(rate=0.0, miss_rate=1.0, miss_ticks=5)


def run(config, action, ticks=400, seed=0):
    perturber = Perturber(config, np.random.default_rng(seed))
    return [perturber.disturb(action, POSE) for _ in range(ticks)]


def test_nothing_is_disturbed_without_a_rate():
    assert run(NO_PERTURBATION, OPEN) == [None] * 400


def test_a_push_is_added_for_its_length_within_its_size_and_leaves_the_gripper():
    executed = run(PUSHES, CLOSED)
    pushes = [e - CLOSED for e in executed if e is not None]
    assert pushes
    assert all(np.linalg.norm(p[:3]) <= PUSHES.translation_m + 1e-12 for p in pushes)
    assert all(np.linalg.norm(p[3:6]) <= PUSHES.rotation_rad + 1e-12 for p in pushes)
    assert all(p[6] == 0.0 for p in pushes)
    assert len({tuple(p) for p in pushes}) == int(np.ceil(len(pushes) / PUSHES.ticks))


def test_a_miss_closes_an_open_hand_and_moves_off_to_a_place_in_its_box():
    perturber = Perturber(replace(MISSES, miss_ticks=100), np.random.default_rng(0))
    pose = POSE.copy()
    for _ in range(100):
        executed = perturber.disturb(OPEN, pose)
        assert executed[6] == 0.0
        assert np.linalg.norm(executed[:3]) <= MISSES.miss_step_m + 1e-12
        pose[:3, 3] += executed[:3]
    assert np.linalg.norm(pose[:3, 3] - POSE[:3, 3]) > 0.05
    assert ((MISSES.miss_min_m < pose[:3, 3]) & (pose[:3, 3] < MISSES.miss_max_m)).all()


def test_a_hand_that_holds_something_does_not_miss():
    assert run(MISSES, CLOSED) == [None] * 400


def test_a_seed_gives_the_same_bursts():
    first, again, other = ([e is None or tuple(e) for e in run(PUSHES, OPEN, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
