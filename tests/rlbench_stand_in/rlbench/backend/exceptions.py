"""Stand-in, see README.md."""


class InvalidActionError(Exception):
    pass
