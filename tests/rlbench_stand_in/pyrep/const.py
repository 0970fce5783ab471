"""Stand-in, see README.md."""

from enum import Enum


class RenderMode(Enum):
    OPENGL = 0
    OPENGL3 = 5
