"""Stand-in, see README.md."""


class Discrete:
    pass
