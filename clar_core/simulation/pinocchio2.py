"""Pinocchio 2.7 under the names of Pinocchio 3, with which franky-sim was written. Import it before franky-sim.

Wheels of Pinocchio 3 want NumPy 2; beside ROS 2 Jazzy from apt, NumPy is 1.26 and Pinocchio 2.7. Under Pinocchio 3 and
later this module changes nothing.
"""

from __future__ import annotations

import pinocchio

if not hasattr(pinocchio.Frame, "parentJoint"):
    pinocchio.Frame.parentJoint = property(lambda frame: frame.parent)
