"""Stand-in, see README.md."""


class Demo:
    def __init__(self, observations):
        self._observations = observations
