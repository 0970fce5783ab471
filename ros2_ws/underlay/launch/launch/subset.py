"""How this stand-in refuses what it does not have: by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


class OutsideSubsetError(NotImplementedError):
    """A launch file asks for something that the stand-in does not implement."""


def outside(what: str) -> NoReturn:
    """Raise OutsideSubsetError for an argument or a value."""
    raise OutsideSubsetError(_message(what))


def refuse_others(module: str) -> Callable[[str], object]:
    """A module's ``__getattr__`` under which importing a class outside the subset raises an error naming it."""

    def __getattr__(name: str) -> object:
        if name[:1].isupper():
            raise ImportError(_message(f"{module}.{name}"))
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def _message(what: str) -> str:
    return (
        f"{what} is outside the subset of ROS 2 launch that CLAR's stand-in implements; "
        "use ROS 2 Jazzy's own launch, or add it to ros2_ws/underlay"
    )
