import json

import numpy as np
import pytest

from clar_core.training.normalizer import ACTION_STD_FLOOR, STATE_STD_FLOOR, Normalizer


def samples(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    states = rng.normal(1.0, 2.0, (n, 10)).astype(np.float32)
    actions = np.c_[rng.normal(0.0, 0.01, (n, 6)), rng.integers(0, 2, n)].astype(np.float32)
    return states, actions


def test_normalised_data_has_mean_zero_and_deviation_one() -> None:
    states, actions = samples()
    normalizer = Normalizer.fit(states, actions)
    motion = normalizer.normalise_action(actions)[:, :6]
    np.testing.assert_allclose(motion.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(motion.std(0), 1, atol=1e-3)
    np.testing.assert_allclose(normalizer.normalise_state(states).mean(0), 0, atol=1e-2)


def test_constant_data_gets_the_floors() -> None:
    normalizer = Normalizer.fit(np.ones((5, 10), np.float32), np.zeros((5, 7), np.float32))
    np.testing.assert_array_equal(normalizer.state_std, STATE_STD_FLOOR)
    np.testing.assert_array_equal(normalizer.action_std, ACTION_STD_FLOOR)
    assert STATE_STD_FLOOR[0] == pytest.approx(0.01)
    assert STATE_STD_FLOOR[9] * 0.08 == pytest.approx(0.005)


def test_states_are_clipped_at_five_deviations() -> None:
    normalizer = Normalizer.fit(*samples())
    assert normalizer.normalise_state(np.full(10, 1e3, np.float32)).tolist() == [5.0] * 10


def test_actions_come_back_in_metres_and_radians() -> None:
    states, actions = samples()
    normalizer = Normalizer.fit(states, actions)
    network = normalizer.normalise_action(actions)
    network[:, 6] = np.where(actions[:, 6] > 0.5, 30.0, -30.0)
    np.testing.assert_allclose(normalizer.denormalise_action(network), actions, atol=1e-6)


def test_extreme_logits_do_not_overflow() -> None:
    normalizer = Normalizer.fit(*samples())
    with np.errstate(all="raise"):
        grippers = [normalizer.denormalise_action(np.array([0] * 6 + [x], np.float32))[6] for x in (-1e4, 0.0, 1e4)]
    assert grippers == [0.0, 0.5, 1.0]


def test_it_survives_json() -> None:
    normalizer = Normalizer.fit(*samples())
    again = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    np.testing.assert_array_equal(again.state_std, normalizer.state_std)
    np.testing.assert_array_equal(again.action_mean, normalizer.action_mean)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("state_std", [1.0] * 9, r"state_std: expected 10 numbers, got shape \(9,\)"),
        ("action_std", [0.0] * 6, r"action_std: expected positive"),
        ("state_mean", [float("nan")] * 10, r"state_mean: expected finite"),
        ("action_mean", "zero", r"action_mean: expected 6 numbers"),
    ],
)
def test_wrong_fields_are_named(field: str, value: object, message: str) -> None:
    values = {**Normalizer.fit(*samples()).to_dict(), field: value}
    with pytest.raises(ValueError, match=message):
        Normalizer.from_dict(values)


def test_missing_and_unknown_fields_are_named() -> None:
    values = Normalizer.fit(*samples()).to_dict()
    with pytest.raises(ValueError, match=r"state_mean: missing"):
        Normalizer.from_dict({k: v for k, v in values.items() if k != "state_mean"})
    with pytest.raises(ValueError, match=r"scale: unknown field"):
        Normalizer.from_dict({**values, "scale": [1.0]})
