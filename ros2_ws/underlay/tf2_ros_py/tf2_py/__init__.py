"""The exceptions of tf2, under the names that tf2_py gives them. Stand-in, see ros2_ws/underlay/README.md."""

__clar_stand_in__ = True


class TransformException(Exception):
    """A transform could not be had; the base of the others."""


class ConnectivityException(TransformException):
    """No chain of transforms connects the two frames."""


class LookupException(TransformException):
    """A frame does not exist."""


class ExtrapolationException(TransformException):
    """The time lies outside what is known of a transform on the path."""


class InvalidArgumentException(TransformException):
    """A frame name or a transform is malformed."""


class TimeoutException(TransformException):
    """The transform did not become available in time."""


__all__ = [
    "ConnectivityException",
    "ExtrapolationException",
    "InvalidArgumentException",
    "LookupException",
    "TimeoutException",
    "TransformException",
]
