"""The steps of a recording session."""

import pytest

from clar_core.teleop.reading import Button
from clar_core.teleop.session import Effect, Phase, Session, SessionConfig


@pytest.fixture
def session():
    return Session(SessionConfig(countdown_s=3.0))


def record(session, now_s=0.0):
    assert session.press(Button.START, now_s) == (Effect.PREPARE,)
    session.prepared(now_s)
    assert session.tick(now_s + 2.9) == ()
    assert session.tick(now_s + 3.0) == (Effect.BEGIN,)
    assert session.phase is Phase.RECORDING


@pytest.mark.parametrize(
    ("button", "effect"),
    [
        (Button.SUCCESS, Effect.END_SUCCESS),
        (Button.FAILURE, Effect.END_FAILURE),
        (Button.DISCARD, Effect.END_DISCARD),
    ],
)
def test_a_verdict_stops_the_arm_and_ends_the_episode(session, button, effect):
    record(session)
    assert session.press(button, 9.0) == (Effect.STOP, effect)
    assert session.phase is Phase.IDLE


def test_the_countdown_is_told_and_can_be_called_off(session):
    session.press(Button.START, 0.0)
    session.prepared(0.0)
    assert "recording in 2" in session.prompt(1.2)
    assert session.press(Button.DISCARD, 1.3) == ()
    assert session.phase is Phase.IDLE
    assert session.tick(10.0) == ()


def test_stop_stops_in_every_phase_and_keeps_a_running_episode_as_a_failure(session):
    assert session.press(Button.STOP, 0.0) == (Effect.STOP,)
    session.press(Button.START, 0.0)
    assert session.press(Button.STOP, 0.1) == (Effect.STOP,)
    session.prepared(0.2)  # the preparation that STOP called off ends late
    assert session.phase is Phase.IDLE
    record(session, 1.0)
    assert session.press(Button.STOP, 5.0) == (Effect.STOP, Effect.END_FAILURE)


def test_a_verdict_without_an_episode_and_undo_in_one_do_nothing_and_say_why(session):
    assert session.press(Button.SUCCESS, 0.0) == ()
    assert "start one first" in session.prompt(0.0)
    record(session)
    assert session.press(Button.UNDO, 4.0) == ()
    assert "then undo" in session.prompt(4.0)


def test_what_is_kept_is_counted_and_undone(session):
    record(session)
    session.press(Button.SUCCESS, 9.0)
    session.ended("kept", kept=True)
    assert session.kept == 1
    assert session.press(Button.UNDO, 10.0) == (Effect.UNDO,)
    session.undone("undone")
    assert session.kept == 0


def test_a_lost_device_ends_the_episode_and_stops_the_arm(session):
    record(session)
    assert session.lost("device lost: unplugged") == (Effect.STOP, Effect.END_FAILURE)
    assert "unplugged" in session.prompt(0.0)
    assert session.lost("again") == ()


def test_an_effect_that_fails_leads_back_to_idle_with_the_reason(session):
    session.press(Button.START, 0.0)
    session.failed("the arm is DISARMED: clar arm")
    assert session.phase is Phase.IDLE
    assert "clar arm" in session.prompt(0.0)


def test_take_over_and_give_back_are_asked_for_in_every_phase(session):
    assert session.press(Button.TAKE_OVER, 0.0) == (Effect.TAKE_OVER,)
    record(session)
    assert session.press(Button.GIVE_BACK, 5.0) == (Effect.GIVE_BACK,)
    assert session.phase is Phase.RECORDING


def test_the_operator_is_asked_to_put_the_objects_out_before_every_episode(session):
    assert session.prompt(0.0) == "0 kept; put the objects out, then start"
    session.press(Button.START, 0.0)
    assert session.prompt(0.0) == "going to the start"
    assert session.tick(60.0) == (), "the countdown waits for the preparation"
    session.prepared(60.0)
    assert [session.prompt(60.0 + t) for t in (0.0, 1.5, 2.9)] == ["recording in 3", "recording in 2", "recording in 1"]
    assert session.tick(63.0) == (Effect.BEGIN,)
    assert session.prompt(63.0) == "RECORDING: success, failure or discard"
    session.press(Button.SUCCESS, 70.0)
    session.ended("kept 20260131T120000_0001", kept=True)
    assert session.prompt(70.0) == "1 kept; put the objects out, then start   [kept 20260131T120000_0001]"


def test_a_discarded_episode_is_not_counted(session):
    record(session)
    session.press(Button.DISCARD, 9.0)
    session.ended("discarded", kept=False)
    assert session.kept == 0
    assert "[discarded]" in session.prompt(9.0)


def test_start_in_an_episode_means_nothing_and_it_is_said(session):
    record(session)
    assert session.press(Button.START, 4.0) == ()
    assert session.phase is Phase.RECORDING
    assert "start means nothing while recording" in session.prompt(4.0)
