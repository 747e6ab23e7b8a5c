"""Imports Reverb without TensorFlow, which takes seconds and memory in every process.

Of TensorFlow Reverb uses one library, which its own is linked to, the classes of
protocol buffers, and names of types in annotations and in signatures of tables. The
tables here have no signatures. So `tensorflow` is a package of stand-ins while Reverb
is imported, but for its protocol buffers; after that it can be imported as it is.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import threading
import types
from typing import Any

_IMPORTING = threading.Lock()
_LIBRARY = "libtensorflow_framework.so.2"
_VERSION = "2.8"  # that Reverb sees; it asks for 2.3 or newer
_STAND_INS = (  # the modules from which Reverb imports names
    *("tensorflow", "tensorflow.compat", "tensorflow.compat.v1", "tensorflow.python"),
    *("tensorflow.python.framework", "tensorflow.python.saved_model"),
)


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


def load() -> Any:
    """Returns the module `reverb`.

    Where TensorFlow is there already, Reverb is imported with it as usual.

    Raises:
      ImportError: Reverb or TensorFlow is not installed.
      OSError: TensorFlow is another one, without Reverb's library.
    """
    with _IMPORTING:
        if not {"reverb", "tensorflow"} & sys.modules.keys():
            _import_alone()
        return importlib.import_module("reverb")


def _import_alone() -> None:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        return
    place = spec.submodule_search_locations[0]
    ctypes.CDLL(f"{place}/{_LIBRARY}")
    sys.modules |= {name: _Module(name) for name in _STAND_INS}
    vars(sys.modules["tensorflow"]).update(
        __path__=[place],  # of its protocol buffers, which are imported
        __version__=_VERSION,
        version=types.SimpleNamespace(VERSION=_VERSION),
    )
    try:
        importlib.import_module("reverb")
    finally:
        for name in [*sys.modules]:
            if name.partition(".")[0] == "tensorflow":
                del sys.modules[name]
