"""Quality-of-service profiles, one per kind of data.

Sensor subscribers want the newest sample and tolerate loss; the recorder wants every sample; a command is worth
nothing once a newer one exists; states that a late joiner must see are latched.
"""

from __future__ import annotations

from typing import Final

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

__all__ = [
    "COMMAND",
    "GATES",
    "LATCHED",
    "RECORD",
    "RECORD_BEST_EFFORT",
    "SENSOR",
    "SENSOR_PUBLISHER",
    "STATE",
    "STATUS",
    "TF_STATIC",
]


def _keep_last(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


SENSOR: Final = _keep_last(1, reliable=False)
"""Subscribers of images and clouds: newest only, compatible with any publisher."""

SENSOR_PUBLISHER: Final = _keep_last(4, reliable=True)
"""Publishers of images and clouds: reliable, so that the recorder may ask for every frame."""

RECORD: Final = _keep_last(60, reliable=True)
"""The recorder's subscriptions."""

RECORD_BEST_EFFORT: Final = _keep_last(60, reliable=False)
"""The recorder's subscriptions where a publisher offers best effort only."""

COMMAND: Final = _keep_last(1, reliable=True)
"""DeltaCommand, both sides: a late command is dropped, never queued."""

STATE: Final = _keep_last(10, reliable=True)
"""Streams of small state messages (robot state, joint states, ticks): both sides."""

STATUS: Final = _keep_last(10, reliable=True)
"""Diagnostics and timings: both sides."""

LATCHED: Final = _keep_last(1, reliable=True, latched=True)
"""State that must be seen late (episode, calibration, manager status): both sides."""

GATES: Final = _keep_last(20, reliable=True, latched=True)
"""The arm's subscription of gates: one latched word of each of several publishers."""

TF_STATIC: Final = _keep_last(100, reliable=True, latched=True)
"""Subscribers of /tf_static, as tf2 itself subscribes."""
