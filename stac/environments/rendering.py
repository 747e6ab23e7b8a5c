"""dm_control, imported without a word, with OpenGL or without.

By itself dm_control chooses an OpenGL backend when it is imported, even where nothing
will be drawn. It tries GLFW first, which needs a display and says so; and a backend
that fails to load leaves the process unable to load the next. So it is imported without
one, and a backend is first tried in a process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import threading
import types
from collections.abc import Iterator

from stac import children, config

BACKENDS = ("egl", "osmesa")  # in this order; neither needs a display
CURE = (
    "pixels, and quadruped.escape's terrain, need OpenGL: install the Debian packages"
    " libegl1 and libgl1-mesa-dri"
    " (MUJOCO_GL=egl) or libosmesa6 (MUJOCO_GL=osmesa)"
)

_VARIABLE = "MUJOCO_GL"
_NONE = "off"  # dm_control's word for no rendering
_TRIAL_SECONDS = 60.0
_TRIAL = """
from dm_control import mujoco
ball = '<mujoco><worldbody><geom size="1"/></worldbody></mujoco>'
mujoco.Physics.from_xml_string(ball).render(8, 8)
"""
_LOADING = threading.Lock()


def suite(renders: bool) -> types.ModuleType:
    """`dm_control.suite`, able to render or not.

    Where MUJOCO_GL is unset and pictures are asked for, it is set to the backend that
    works, so that processes started from here need not try again.

    Raises:
      ConfigError: dm_control is missing, or pictures are asked for and none can be.
    """
    with _LOADING:
        found = _suite()
        if renders:
            _render()
        return found


def backend() -> str:
    """The value of MUJOCO_GL, or where it is unset the first backend that works.

    Raises:
      ConfigError: none does, or not the one that was asked for.
    """
    asked = os.environ.get(_VARIABLE)
    if asked is not None:
        config.check(works(asked), f"MUJOCO_GL={asked} does not work here; {CURE}")
        return asked
    for name in BACKENDS:
        if works(name):
            return name
    raise config.ConfigError(f"{CURE}; neither works here")


@functools.cache
def works(name: str) -> bool:
    """Whether a process with MUJOCO_GL=name draws a picture."""
    # dm_control sets the other one by MUJOCO_GL.
    variables = {_VARIABLE: name, "PYOPENGL_PLATFORM": None}
    return children.ask(_TRIAL, _TRIAL_SECONDS, variables) is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps off the terminal that dm_control's own models are written in an old way.

    MuJoCo says so of an attribute in its cheetah.xml, through absl's logger; nobody
    here can act on it. Other warnings pass.
    """

    def ours(record: logging.LogRecord) -> bool:
        return "is deprecated and will be removed" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(ours)
    try:
        yield
    finally:
        logger.removeFilter(ours)


@functools.cache
def _suite() -> types.ModuleType:
    try:
        with _variable(_NONE):
            return importlib.import_module("dm_control.suite")
    except ImportError as error:
        raise config.ConfigError(
            "control needs the package dm-control (Python 3.10 to 3.12): run"
            f" `make setup` ({error})"
        ) from error


def _render() -> None:
    """Has dm_control choose again, where it was imported without OpenGL.

    It looks into this module for every new context; no public way names one later.
    """
    module = importlib.import_module("dm_control._render")
    if module.BACKEND != _NONE:
        return
    os.environ[_VARIABLE] = backend()
    importlib.reload(module)


@contextlib.contextmanager
def _variable(value: str) -> Iterator[None]:
    """MUJOCO_GL=value for a while."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
