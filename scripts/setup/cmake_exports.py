"""Make the CMake exports of the ROS 2 wheels fit this virtual environment.

The message wheels carry absolute include paths of the machine that built them (/opt/python/cp3XX-cp3XX/...). CMake
would hand them to the compiler and fail on headers that do not exist here. Run with the environment's own interpreter;
running it again changes nothing.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

import numpy

_NUMPY_INCLUDE = re.compile(r"/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include")
_PYTHON_INCLUDE = re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+")


def fix_text(text: str, python_include: str, numpy_include: str) -> str:
    """The text of a CMake file with the wheel builder's include folders replaced by the given ones."""
    text = _NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return _PYTHON_INCLUDE.sub(lambda _: python_include, text)


def fix_exports(prefix: Path, python_include: str, numpy_include: str) -> int:
    """Rewrite every CMake file below prefix/share that needs it; returns how many changed.

    A file is replaced in one step, so that an interrupted run leaves whole files only.
    """
    changed = 0
    for path in sorted((prefix / "share").rglob("*.cmake")):
        before = path.read_text(encoding="utf-8")
        after = fix_text(before, python_include, numpy_include)
        if after != before:
            temporary = path.with_suffix(".cmake.new")
            temporary.write_text(after, encoding="utf-8")
            os.replace(temporary, path)
            changed += 1
    return changed


def main() -> None:
    """Fix the environment that this interpreter belongs to."""
    prefix = Path(sys.prefix)
    changed = fix_exports(prefix, sysconfig.get_paths()["include"], numpy.get_include())
    print(f"CMake exports in {prefix}/share: {changed} changed")


if __name__ == "__main__":
    main()
