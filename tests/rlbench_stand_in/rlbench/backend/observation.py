"""Stand-in, see README.md."""


class Observation:
    def __init__(self, **values):
        self.__dict__.update(values)
