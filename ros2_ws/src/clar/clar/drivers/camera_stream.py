"""A camera that comes back: one thread that reads frames, holds back frozen ones, and connects again after a loss.

Nothing here knows which camera it is: ``connect`` makes one, anything with ``read``, ``close``, ``reset_hardware`` and
a ``description``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from clar.drivers.realsense import Frame
from clar.drivers.realsense_device import CameraDescription, CameraError, CameraMissingError
from clar_core.observation.device_time import DeviceTimeError
from clar_core.observation.freshness import RepeatDetector

_RESET_AFTER = 3
"""So many connections in a row that ended without a good frame call for a reset of the device."""


class Camera(Protocol):
    """One connection to a camera."""

    description: CameraDescription

    def read(self) -> Frame:
        """The next frame. Raises CameraError or DeviceTimeError."""

    def reset_hardware(self) -> None:
        """Restart the device."""

    def close(self) -> None:
        """Stop streaming."""


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """When a stream is no longer to be believed.

    Attributes:
        max_repeat_s: frames whose content has not changed for longer are held back; 0 switches this off.
        restart_after_s: after this long the connection is made anew.
        retry_s: pause between two attempts to connect.
    """

    max_repeat_s: float = 0.15
    restart_after_s: float = 1.0
    retry_s: float = 0.5


class CameraStream:
    """Reads a camera in a thread of its own.

    Attributes:
        frames, lost, held, restarts: counts since the start.
        problem: why no frames come at the moment, empty while they do.
        connected: whether a camera is connected.
    """

    def __init__(
        self,
        connect: Callable[[], Camera],
        on_frame: Callable[[Frame], None],
        *,
        on_connected: Callable[[CameraDescription], None] = lambda description: None,
        on_problem: Callable[[str], None] = lambda text: None,
        limits: StreamLimits | None = None,
    ) -> None:
        """``on_frame``, ``on_connected`` and ``on_problem`` are called in the stream's thread."""
        self._connect = connect
        self._on_frame = on_frame
        self._on_connected = on_connected
        self._on_problem = on_problem
        self._limits = limits or StreamLimits()
        self._closing = threading.Event()
        self.frames = self.lost = self.held = self.restarts = 0
        self.problem = "no frame has come yet"
        self.connected = False
        self._fruitless = 0
        self._repeats = RepeatDetector()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Connect for the first time and start the thread; a camera that is not there is waited for.

        Raises:
            CameraError: the camera cannot be used as asked for.
        """
        try:
            self._camera: Camera | None = self._open()
        except CameraMissingError as error:
            self._camera = None
            self._say(str(error))
        self._thread.start()

    def close(self) -> None:
        """End the thread and the connection."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        camera = self._camera
        while not self._closing.is_set():
            try:
                camera = camera or self._open()
                self._read_all(camera)
            except CameraError as error:
                self._say(str(error))
            except Exception as error:  # the thread must outlive whatever a callback or the library does
                self._say(f"{type(error).__name__} in the camera's thread: {error}")
            if camera is not None:
                self._leave(camera)
                camera = None
            if not self._closing.is_set():
                self.restarts += 1
                self._closing.wait(self._limits.retry_s)

    def _open(self) -> Camera:
        camera = self._connect()
        self.connected = True
        self._on_connected(camera.description)
        return camera

    def _leave(self, camera: Camera) -> None:
        self.connected = False
        if self._fruitless >= _RESET_AFTER and not self._closing.is_set():
            self._fruitless = 0
            camera.reset_hardware()
        camera.close()

    def _read_all(self, camera: Camera) -> None:
        """Read until it fails; raises CameraError then."""
        self._fruitless += 1
        since_s = time.monotonic()
        while not self._closing.is_set():
            try:
                frame = camera.read()
            except DeviceTimeError as error:
                self.held += 1
                self._say(f"frame dropped: {error}")
                continue
            self.lost += frame.lost
            frozen_s = self._repeats.unchanged_s(frame.depth, frame.stamp_ns)
            if frozen_s > self._limits.max_repeat_s > 0:
                self.held += 1
                self._say("the camera is frozen: it repeats one depth image")
                if min(frozen_s, time.monotonic() - since_s) > self._limits.restart_after_s:
                    raise CameraMissingError(f"the camera is frozen for {frozen_s:.1f} s: connecting again")
                continue
            self._fruitless = 0
            self.frames += 1
            self.problem = ""
            self._on_frame(frame)

    def _say(self, text: str) -> None:
        """Remember a problem, and tell it when it is another one than before."""
        if text != self.problem:
            self.problem = text
            self._on_problem(text)
