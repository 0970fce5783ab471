"""Stand-in, see README.md."""


class EndEffectorPoseViaPlanning:
    def __init__(self, absolute_mode=True, collision_checking=False):
        assert absolute_mode
