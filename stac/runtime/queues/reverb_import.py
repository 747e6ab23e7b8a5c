"""Imports Reverb without TensorFlow, which takes seconds and memory in every process.

Of TensorFlow Reverb uses one library, which its own is linked to, the classes of
protocol buffers, and names of types in annotations and in signatures of tables. The
tables here have no signatures. So `tensorflow` is a package of stand-ins while Reverb
is imported, but for its protocol buffers; after that it can be imported as it is.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import pathlib
import sys
import threading
import types
from collections.abc import Sequence
from typing import Any

_IMPORTING = threading.Lock()
_TENSORFLOW = "tensorflow"
_LIBRARY = "libtensorflow_framework.so.2"
_REAL = f"{_TENSORFLOW}.core"  # protocol buffers
_VERSION = "2.8"  # that Reverb sees; it asks for 2.3 or newer


class _Name(type):
    """Of a stand-in every name is a stand-in."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _StandIn(metaclass=_Name):
    def __init__(self, *arguments: Any) -> None:
        pass  # called at import: to load TensorFlow's operations, which are not used


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(_StandIn, name)


class _Finder:
    """Finds stand-ins for TensorFlow's modules."""

    def __init__(self, place: str) -> None:
        self._place = place

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if _of(name, _TENSORFLOW) and not _of(name, _REAL):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type] # it is a loader
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == _TENSORFLOW:
            version = types.SimpleNamespace(VERSION=_VERSION)
            found = {"__path__": [self._place], "version": version}
            vars(module).update(found, __version__=_VERSION)


def load() -> Any:
    """Returns the module `reverb`.

    Where TensorFlow is there already, or is not as this expects, Reverb is imported
    with it as usual.

    Raises:
      ImportError: Reverb or TensorFlow is not installed.
    """
    with _IMPORTING:
        if not {"reverb", _TENSORFLOW} & sys.modules.keys():
            _import_alone()
        return importlib.import_module("reverb")


def _import_alone() -> None:
    spec = importlib.util.find_spec(_TENSORFLOW)
    if spec is None or not spec.submodule_search_locations:
        return
    place = spec.submodule_search_locations[0]
    finder = _Finder(place)
    try:
        ctypes.CDLL(str(pathlib.Path(place) / _LIBRARY))
        sys.meta_path.insert(0, finder)
        importlib.import_module("reverb")
    except Exception:  # noqa: BLE001 - it is imported with TensorFlow then
        _forget("reverb")
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        _forget(_TENSORFLOW)


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if _of(name, package)]:
        del sys.modules[name]


def _of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
