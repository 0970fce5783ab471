"""Stand-in, see README.md."""


class IKError(Exception):
    pass
