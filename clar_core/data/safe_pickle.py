"""Pickles of foreign origin, read without running anything of theirs.

Only NumPy's arrays, plain containers and the classes named by the caller are made, the latter as empty stand-ins that
keep attributes. Whatever else a pickle names is refused before it is imported.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}
for _module in _CORE:
    _ALLOWED[_module, "_reconstruct"] = np.empty(0).__reduce__()[0]
    _ALLOWED[_module, "scalar"] = np.float64(0).__reduce__()[0]


class UnsafePickleError(ValueError):
    """A pickle names something that is not needed to hold data; the message names the file and it."""


class Stub:
    """Stands in for a class of another library: keeps the attributes that the pickle gives it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BufferedIOBase, file: Path, stubs: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(stream, encoding="latin1")  # type: ignore[arg-type]
        self._file, self._stubs = file, stubs

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if name in self._stubs.get(module, ()):
            return type(name, (Stub,), {})
        raise UnsafePickleError(
            f"{self._file}: names {module}.{name}, which is not data and is not loaded; is this the file it should be?"
        )


def load_pickle(path: Path, stubs: Mapping[str, tuple[str, ...]] | None = None) -> Any:
    """The content of a pickle.

    Args:
        path: file.
        stubs: classes of other libraries by module, that become :class:`Stub`.

    Raises:
        UnsafePickleError: it names anything else.
        ValueError: not a pickle, or truncated.
    """
    try:
        with path.open("rb") as stream:
            return _Unpickler(stream, path, stubs or {}).load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a readable pickle: {error}") from error


def load_object_array(path: Path) -> Any:
    """The object in a ``.npy`` file that was saved with pickling allowed, or the array of a plain one.

    Raises:
        UnsafePickleError: its pickle names anything but data.
        ValueError: not a ``.npy`` file, or truncated.
    """
    with path.open("rb") as stream:
        try:
            header: Any = np.lib.format  # NumPy 1.26 has no types for these
            version = header.read_magic(stream)
            read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
            shape, _, dtype = read(stream)
        except ValueError as error:
            raise ValueError(f"{path}: not a .npy file: {error}") from error
        if not dtype.hasobject:
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
        try:
            array = _Unpickler(stream, path, {}).load()
        except (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}: its pickle cannot be read: {error}") from error
    return array.item() if shape == () else array
