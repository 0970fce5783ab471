import numpy as np

from clar_core.rolling import ObservationMemory, PlanQueue


def observation(value: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full((4, 3), value, np.float32), np.full(10, value, np.float32)


def test_without_a_history_or_chunks_nothing_changes() -> None:
    points, state = observation(1.0)
    assert ObservationMemory(1).extended(points, state) == (points, state)
    plan = np.arange(7, dtype=np.float32)
    np.testing.assert_array_equal(PlanQueue(1).next_action(plan), plan)


def test_the_first_observation_is_repeated_until_there_are_enough() -> None:
    memory = ObservationMemory(3)
    seen = [memory.extended(*observation(value))[1][:, 0].tolist() for value in (1.0, 2.0, 3.0, 4.0)]
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    memory.clear()
    points, states = memory.extended(*observation(9.0))
    assert points.shape == (3, 4, 3)
    assert states[:, 0].tolist() == [9, 9, 9]


def test_one_that_executes_one_action_follows_the_newest_plan() -> None:
    plans = PlanQueue(1)
    for tick in range(3):
        assert plans.wants_plan
        plan = np.arange(21, dtype=np.float32).reshape(3, 7) + 100 * tick
        np.testing.assert_array_equal(plans.next_action(plan), plan[0])


def test_a_queue_follows_a_plan_before_it_wants_the_next() -> None:
    plans = PlanQueue(2)
    wanted, given = [], []
    for tick in range(5):
        wanted.append(plans.wants_plan)
        plan = np.arange(28, dtype=np.float32).reshape(4, 7) + 100 * tick if plans.wants_plan else None
        given.append(float(plans.next_action(plan)[0]))
    assert wanted == [True, False, True, False, True]
    assert given == [0, 7, 200, 207, 400]
    plans.clear()
    assert plans.wants_plan, "what a trial before planned is forgotten"
