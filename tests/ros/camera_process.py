"""The camera node on a software D455 that misbehaves on request: ``python -m tests.ros.camera_process``.

Everything but the device is what runs in a real cell. Requests come as text on ``/test/camera``: freeze, silence,
unplug, plug, empty (nothing is near), thaw. CAMERA_HZ is the rate of its images.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from std_msgs.msg import String

from clar import qos
from clar.nodes.camera import CameraNode, main
from tests.hardware.software_d455 import Bus, Feeder, SoftwareD455, noise_images

TOPIC = "/test/camera"
DEVICE = SoftwareD455()
BUS = Bus(DEVICE)
NEAR = noise_images()
FAR = [(depth + np.uint16(5000), color) for depth, color in NEAR]


class SoftwareCameraNode(CameraNode):
    make_context = staticmethod(BUS.make_context)

    def configure(self) -> None:
        self._feeder = Feeder(DEVICE, rate_hz=float(os.environ.get("CAMERA_HZ", "30")))
        self.create_subscription(String, TOPIC, self._on_request, qos.LATCHED)
        super().configure()

    def _on_request(self, message: String) -> None:
        request, feeder = message.data, self._feeder
        feeder.images = FAR if request == "empty" else NEAR
        feeder.frozen = request == "freeze"
        feeder.silent = request in ("silence", "unplug")
        BUS.cameras[:] = [] if request == "unplug" else [DEVICE]


if __name__ == "__main__":
    sys.exit(main(SoftwareCameraNode))
