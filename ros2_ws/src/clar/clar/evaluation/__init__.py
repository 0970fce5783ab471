"""``clar eval live``: a policy's success on the live stack, in the simulated cell or on the robot."""
