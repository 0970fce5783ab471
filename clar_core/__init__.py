"""CLAR: point-cloud representations and visuomotor policies for a Franka arm. This package imports no ROS."""

import os
import sys

__version__ = "0.1.0"

# MuJoCo reads this once, when it is first imported. Without a display its own default fails to render.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    # Mesa's software renderer reads this likewise. Threads of its own win nothing on images of this size, and cost a
    # third of a frame's processor time where others need the cores too.
    os.environ.setdefault("LP_NUM_THREADS", "0")
