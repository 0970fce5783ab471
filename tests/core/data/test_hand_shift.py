from dataclasses import replace

import numpy as np
import pytest

from clar_core.data.augmentation import AugmentationConfig, augment_window
from clar_core.data.hand_shift import Approach, HandShift, approaches, draw_hand_shift, is_arm
from clar_core.geometry.poses import apply_delta, make_pose, rotation_vector_to_matrix
from clar_core.observation.builder import proprioception
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.collect import drive
from clar_core.simulation.env import CellEnv, EnvConfig

SPEC = ObservationSpec(network_points=32, min_cloud_points=16)
DOWN = np.diag([1.0, -1.0, -1.0])
ALWAYS = AugmentationConfig(
    yaw_rad=0, translation_xy_m=0, translation_z_m=0, jitter_m=0, dropout=0, hand_share=1.0, hand_yaw_rad=0.3
)
FREE = Approach(ticks=20, lowest_m=0.02)
TCP = (0.5, 0.0, 0.15)


def state(position=TCP, width_m: float = 0.08, turn: float = 0.0) -> np.ndarray:
    return proprioception(make_pose(rotation_vector_to_matrix((0, 0, turn)) @ DOWN, position), width_m, SPEC)


def block(centre, count: int = 60, half_m: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (np.asarray(centre) + rng.uniform(-half_m, half_m, (count, 3))).astype(np.float32)


def shifts(number: int = 200, **options) -> list[HandShift]:
    arguments = {"state": state(), "approach": FREE, "config": ALWAYS, "spec": SPEC} | options
    drawn = [draw_hand_shift(np.random.default_rng(seed), **arguments) for seed in range(number)]
    return [shift for shift in drawn if shift is not None]


def test_following_the_corrected_actions_comes_back_to_the_demonstrated_way() -> None:
    rng = np.random.default_rng(0)
    demonstrated = np.concatenate([rng.uniform(-0.01, 0.01, (12, 3)), np.zeros((12, 3)), np.ones((12, 1))], axis=1)
    for shift in shifts(20):
        there = make_pose(DOWN, TCP)
        here = make_pose(
            rotation_vector_to_matrix((0, 0, shift.motion.yaw_rad)) @ DOWN, np.add(TCP, shift.motion.translation_m)
        )
        np.testing.assert_allclose(shift.move_state(state()), proprioception(here, 0.08, SPEC), atol=1e-6)
        for wanted, corrected in zip(demonstrated, shift.correct(demonstrated), strict=True):
            there = apply_delta(there, wanted[:3], wanted[3:6])
            here = apply_delta(here, corrected[:3], corrected[3:6])
        np.testing.assert_allclose(here, there, atol=1e-6)


def test_a_shift_is_undone_before_the_fingers_close_at_no_more_than_the_pace() -> None:
    for ticks in (2, 3, 7, 20):
        for shift in shifts(50, approach=Approach(ticks, 0.02)):
            assert shift.ticks < ticks
            assert np.linalg.norm(shift.motion.translation_m) / shift.ticks <= ALWAYS.hand_return_m + 1e-6
            assert abs(shift.motion.yaw_rad) / shift.ticks <= ALWAYS.hand_return_rad + 1e-6


def test_a_hand_that_closes_or_holds_something_is_not_shifted() -> None:
    grippers = np.array([1, 1, 1, 0, 0, 1, 1], dtype=np.float32)
    widths = [0.08, 0.08, 0.08, 0.08, 0.05, 0.02, 0.06]
    states = np.stack([state((0.5, 0.0, 0.1 + 0.01 * i), width) for i, width in enumerate(widths)])
    found = approaches(states, grippers, SPEC)
    assert [step.ticks for step in found] == [3, 2, 1, 0, 0, 0, 1]
    assert {round(step.lowest_m, 3) for step in found} == {0.1}
    assert not shifts(20, approach=Approach(1, 0.02))


def test_the_arm_moves_and_the_scene_stays() -> None:
    cube, palm = block((0.5, 0.1, 0.03)), block((0.5, 0.0, 0.15 + 0.08))
    cloud = np.concatenate([cube, palm])
    assert is_arm(cloud, state(), SPEC).tolist() == [False] * 60 + [True] * 60
    action = np.concatenate([np.zeros((1, 6)), np.ones((1, 1))], axis=1).astype(np.float32)
    moved, states, actions = augment_window(
        np.random.default_rng(3), [cloud], state()[None], action, SPEC, ALWAYS, approach=FREE
    )
    np.testing.assert_allclose(moved[0][:60], cube, atol=1e-6)
    shift = states[0, :3] - np.float32(TCP)
    assert np.linalg.norm(shift) > 0.005
    np.testing.assert_allclose(moved[0][60:].mean(0) - palm.mean(0), shift, atol=0.002)
    assert actions[0, :3] @ shift < 0


def test_what_lies_between_open_fingers_is_the_scene_and_the_fingers_are_the_arm() -> None:
    grasped = block((0.5, 0.0, 0.15), half_m=0.006)
    finger = block((0.5, 0.05, 0.16), half_m=0.005)
    assert not is_arm(grasped, state(), SPEC).any()
    assert is_arm(finger, state(), SPEC).all()
    aside = block((0.45, 0.0, 0.16), half_m=0.005)
    assert is_arm(aside, state(turn=np.pi / 2), SPEC).all()


def test_the_hand_is_not_put_into_the_scene_out_of_reach_or_below_the_known_heights() -> None:
    wall = block((0.5, 0.12, 0.18), 400, 0.05)
    cloud = np.concatenate([wall, block((0.5, 0.0, 0.23))])
    unseen, seen = shifts(), shifts(cloud=cloud)
    assert max(shift.motion.translation_m[1] for shift in unseen) > 0.05
    for shift in seen:
        moved = shift.move_cloud(cloud, state(), SPEC)[400:]
        assert moved[:, 1].max() < 0.09 or shift.motion.translation_m[2] > 0
    assert min(shift.motion.translation_m[2] for shift in shifts(approach=Approach(20, 0.13))) >= -0.02
    narrow = AugmentationConfig(hand_share=1.0, reach_min_m=(0.49, -0.01, 0.0), reach_max_m=(0.51, 0.01, 0.5))
    assert all((np.abs(shift.motion.translation_m[:2]) <= 0.0101).all() for shift in shifts(config=narrow))


def test_a_hand_shown_closed_has_its_fingers_together_time_to_open_and_is_told_to() -> None:
    closing = replace(ALWAYS, hand_closed_share=1.0)
    held = replace(FREE, narrowest_m=0.045)
    fingers = np.concatenate([block((0.5, 0.05, 0.16), half_m=0.005), block((0.5, -0.05, 0.16), half_m=0.005)])
    palm = block((0.5, 0.06, 0.23))
    cloud, action = np.concatenate([fingers, palm]), np.float32([[0, 0, 0, 0, 0, 0, 1]])
    heights = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        moved, states, actions = augment_window(rng, [cloud], state()[None], action, SPEC, closing, approach=held)
        assert states[0, 9] == 0
        assert actions[0, 6] == 1
        apart = np.linalg.norm(moved[0][:60].mean(0) - moved[0][60:120].mean(0))
        assert apart == pytest.approx(0.1 - 0.08, abs=0.002)
        assert np.linalg.norm(moved[0][120:].mean(0) - states[0, :3]) == pytest.approx(0.1, abs=0.005)
        heights.append(states[0, 2])
    assert min(heights) < 0.05
    assert not any(shift.closed for shift in shifts(config=closing, approach=replace(held, ticks=8)))
    assert not any(shift.closed for shift in shifts(config=closing, approach=replace(held, narrowest_m=0.01)))


def test_a_low_hand_goes_up_before_it_goes_sideways_and_comes_back_all_the_same() -> None:
    demonstrated = np.zeros((20, 7), dtype=np.float32)
    lowest = 0.0
    for shift in shifts(config=replace(ALWAYS, hand_low_share=1.0)):
        moved, way = shift.motion.translation_m, shift.correct(demonstrated)
        lowest = min(lowest, moved[2])
        assert shift.ticks < FREE.ticks
        assert (shift.rise_ticks > 0) == (moved[2] < 0)
        assert not way[: shift.rise_ticks, :2].any()
        assert np.linalg.norm(way[:, :3], axis=1).max() <= ALWAYS.hand_return_m + 1e-6
        np.testing.assert_allclose(way[:, :3].sum(0), -moved, atol=1e-6)
        assert way[:, 5].sum() == pytest.approx(-shift.motion.yaw_rad, abs=1e-6)
    assert lowest < -0.10


def test_turns_and_shifts_are_as_large_as_each_can_be_undone() -> None:
    wide = replace(ALWAYS, hand_xy_m=0.5, hand_z_m=0.0, hand_yaw_rad=0.05)
    drawn = shifts(config=wide, approach=Approach(4, 0.02))
    assert max(abs(shift.motion.yaw_rad) for shift in drawn) > 0.045
    assert max(np.linalg.norm(shift.motion.translation_m) for shift in drawn) <= 3 * wide.hand_return_m + 1e-6


def test_no_shift_leaves_more_to_turn_than_an_eighth_of_a_circle_or_than_was_demonstrated() -> None:
    wide = replace(ALWAYS, hand_yaw_rad=1.5, hand_return_rad=0.1)
    for to_turn, most in ((0.3, np.pi / 4), (-1.2, 1.2), (0.0, np.pi / 4)):
        drawn = shifts(config=wide, approach=replace(FREE, turn_rad=to_turn))
        left = [abs(to_turn - shift.motion.yaw_rad) for shift in drawn]
        assert 0.9 * most < max(left) <= most + 1e-6
        assert min(shift.motion.yaw_rad for shift in drawn) < 0 or to_turn == 0.3


def test_what_is_left_to_turn_is_the_short_way_to_where_the_fingers_close() -> None:
    turns = (3.0, 3.1, -3.1, -3.0, -2.9)
    states = np.stack([state((0.5, 0.0, 0.1), 0.08, turn) for turn in turns])
    found = approaches(states, np.array([1, 1, 1, 0, 1], dtype=np.float32), SPEC)
    np.testing.assert_allclose(
        [step.turn_rad for step in found], [2 * np.pi - 6, 2 * np.pi - 6.1, 0.1, 0, 0], atol=1e-5
    )


def test_a_hand_is_shown_on_its_way_of_opening_with_nothing_between_its_fingers() -> None:
    opening = replace(ALWAYS, hand_closed_share=1.0, hand_opening_share=1.0, hand_xy_m=0.02, hand_z_m=0.0)
    held = replace(FREE, narrowest_m=0.045)
    fingers = np.concatenate([block((0.5, 0.05, 0.16), half_m=0.005), block((0.5, -0.05, 0.16), half_m=0.005)])
    drawn = shifts(config=opening, approach=held)
    widths = [shift.move_state(state())[9] for shift in drawn]
    assert min(widths) < 0.1
    assert max(widths) > 0.9
    for shift, width in zip(drawn, widths, strict=True):
        moved = shift.move_cloud(fingers, state(), SPEC)
        apart = np.linalg.norm(moved[:60].mean(0) - moved[60:].mean(0))
        assert apart == pytest.approx(0.02 + 0.08 * width, abs=0.002)
    under = np.concatenate([fingers, block((0.5, 0.0, 0.15), half_m=0.006)])
    assert not shifts(config=opening, approach=held, cloud=under)


def test_a_hand_that_is_almost_open_again_may_be_near_the_object() -> None:
    opening = replace(ALWAYS, hand_closed_share=1.0, hand_opening_share=1.0)
    near = [s for s in shifts(config=opening, approach=Approach(4, 0.02, narrowest_m=0.045)) if s.closed]
    assert 50 < len(near) < 150
    assert min(shift.opening for shift in near) > 0.5
    assert not any(s.closed for s in shifts(config=opening, approach=Approach(4, 0.02, narrowest_m=0.01)))


def test_a_share_of_the_samples_is_shifted() -> None:
    half = AugmentationConfig(hand_share=0.5)
    assert 60 < len(shifts(config=half)) < 140
    assert not shifts(config=AugmentationConfig())


def test_in_the_simulated_cell_the_arm_is_told_from_the_objects() -> None:
    env = CellEnv(EnvConfig(task="place_cube_in_basin"))
    wrong = checked = 0

    def look(observation, label) -> None:
        nonlocal wrong, checked
        if label[6] < 0.5 or observation["state"][9] < 0.9:
            return
        arm = is_arm(observation["cloud"], observation["state"], env.config.spec)
        low = observation["cloud"][:, 2] < 0.06
        tcp = observation["state"][:3]
        far = np.linalg.norm(observation["cloud"][:, :2] - tcp[:2], axis=1) > 0.16
        wrong += int((arm & low & far).sum() + (~arm & (observation["cloud"][:, 2] > 0.12)).sum())
        checked += len(arm)

    drive(env, 5, look)
    assert checked > 20_000
    assert wrong < 0.002 * checked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hand_share", 1.5),
        ("hand_closed_share", -0.1),
        ("hand_opening_share", 1.1),
        ("hand_low_share", -0.1),
        ("hand_xy_m", -0.1),
        ("hand_z_m", np.nan),
        ("hand_return_m", 0.0),
        ("hand_return_rad", 0.0),
    ],
)
def test_wrong_settings_are_refused_by_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"augmentation.{field}"):
        AugmentationConfig(**{field: value})
