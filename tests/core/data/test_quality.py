"""What is wrong with a recording is found and named."""

import dataclasses

import numpy as np
import pytest

from clar_core.data.bags import BagError
from clar_core.data.quality import BAD, OK, WARN, assess, compare
from clar_core.observation.spec import ObservationSpec
from tests.core.data.recorded_episode import CALIBRATION, Recipe, record
from tests.core.observation.scene import T_BASE_CAMERA

SPEC = ObservationSpec()


def report(path, **options):
    (found,) = assess(path, SPEC, **options)
    return found


def levels(found):
    return {finding.check: finding.level for finding in found.findings}


class Calibration:
    """What a calibration file says, as far as it is compared."""

    hash = CALIBRATION

    def __init__(self, shift_m=0.0):
        self.T_base_optical = T_BASE_CAMERA.copy()
        self.T_base_optical[0, 3] += shift_m


def test_a_good_episode_is_good_in_every_check(tmp_path):
    found = report(record(tmp_path), calibration=Calibration())
    assert found.verdict == OK, found.reasons
    assert found.steps == 24
    assert found.figures["depth_rate_hz"] == pytest.approx(20.0, abs=0.2)
    assert found.to_dict()["verdict"] == OK


@pytest.mark.parametrize(
    ("changes", "check", "level"),
    [
        ({"outcome": 2}, "outcome", WARN),
        ({"frozen_from": 12}, "frozen frames", BAD),
        ({"encoding": "32FC1"}, "depth images", BAD),
        ({"state_jump_ms": -400}, "clock", BAD),
        ({"disconnected_at": 12}, "device", BAD),
        ({"calibration": "sha256:" + "b" * 64}, "calibration", BAD),
        ({"without": ("/tf_static",)}, "transforms", BAD),
        ({"without": ("/camera/camera/depth/image_rect_raw",)}, "topic missing", BAD),
        ({"without": ("/clar/command",)}, "commands", WARN),
        ({"refused": tuple(range(24))}, "steps", BAD),
    ],
)
def test_each_defect_is_named_by_its_check(tmp_path, changes, check, level):
    found = report(record(tmp_path, **changes))
    assert levels(found)[check] == level, found.findings
    assert any(check in reason for reason in found.reasons)


def test_transforms_that_are_not_the_calibrations_are_bad(tmp_path):
    found = report(record(tmp_path), calibration=Calibration(shift_m=0.005))
    (finding,) = [f for f in found.findings if f.check == "transforms"]
    assert finding.level == BAD
    assert "5.0 mm and 0.0 degrees off" in finding.value


def test_a_gripper_that_chatters_and_an_arm_that_jerks_are_seen(tmp_path):
    actions = Recipe().steps()
    actions[:, 6] = np.arange(24) % 2
    actions[::3, 0] = 0.04
    found = report(record(tmp_path, actions=actions))
    assert levels(found)["gripper switches"] == BAD
    assert levels(found)["jerk outliers"] == BAD


def test_a_bag_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="empty: not a rosbag2 folder"):
        assess(tmp_path / "empty", SPEC)


def test_a_bag_of_another_camera_is_pointed_out_among_the_others(tmp_path):
    usual = report(record(tmp_path))
    odd = dataclasses.replace(usual, camera="848x480, fx 420.00, cx 424.00")
    first, second, third = compare([usual, usual, odd])
    assert first.verdict == second.verdict == OK
    assert levels(third)["camera of its own"] == WARN
    assert "320x240" in third.reasons[0]
