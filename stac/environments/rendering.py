"""The import of dm_control, with OpenGL or without, and without a warning.

By itself dm_control chooses an OpenGL backend when it is imported, even where nothing
will be drawn. It tries GLFW first, which needs a display and warns where there is none.
A backend that fails to load leaves the process unable to load another. So dm_control is
imported without a backend, and a backend is first tried in a process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import subprocess
import sys
import threading
import types

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
import sys
from stac.children import die_with_parent
die_with_parent(int(sys.argv[1]))
from dm_control import mujoco
ball = '<mujoco><worldbody><geom size="1"/></worldbody></mujoco>'
mujoco.Physics.from_xml_string(ball).render(8, 8)
"""
_LOADING = threading.Lock()


def suite(renders: bool) -> types.ModuleType:
    """Imports and returns `dm_control.suite`.

    Where it shall render and MUJOCO_GL is unset, MUJOCO_GL is set to the backend that
    works, so that processes started from here need not try again.

    Raises:
      ConfigError: dm_control is missing, or it shall render and no backend works.
    """
    with _LOADING:
        module = _suite()
        if renders:
            _render()
        return module


def is_divergence(error: Exception) -> bool:
    """Whether this is dm_control's error about a simulation that diverged.

    It does not import dm_control: without it there is no such error.
    """
    module = sys.modules.get("dm_control.rl.control")
    return module is not None and isinstance(error, module.PhysicsError)


def backend() -> str:
    """The value of MUJOCO_GL, or where it is unset or empty the first that works.

    Raises:
      ConfigError: no backend works, or the one that MUJOCO_GL names does not.
    """
    wanted = os.environ.get(_VARIABLE)
    if wanted:  # the empty string is as good as unset
        config.check(works(wanted), f"MUJOCO_GL={wanted} does not work here; {CURE}")
        return wanted
    for name in BACKENDS:
        if works(name):
            return name
    raise config.ConfigError(f"{CURE}; neither works here")


@functools.cache
def works(name: str) -> bool:
    """Whether a process with MUJOCO_GL=name draws a picture."""
    path = children.python_path()
    variables = {**os.environ, _VARIABLE: name, "PYTHONPATH": path}
    variables.pop("PYOPENGL_PLATFORM", None)  # dm_control sets it by MUJOCO_GL
    with contextlib.suppress(subprocess.TimeoutExpired):
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL, str(os.getpid())],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL_SECONDS,
        )
        return trial.returncode == 0
    return False


def _passes(record: logging.LogRecord) -> bool:
    """Whether this is not MuJoCo's warning about an old attribute in cheetah.xml."""
    return "is deprecated and will be removed" not in record.getMessage()


@functools.cache
def _suite() -> types.ModuleType:
    logging.getLogger("absl").addFilter(_passes)  # on which no user can act
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = _NONE
    try:
        return importlib.import_module("dm_control.suite")
    except ImportError as error:
        raise config.ConfigError(
            "control needs the package dm-control (Python 3.10 to 3.12): run"
            f" `make setup` ({error})"
        ) from error
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before


def _render() -> None:
    """Loads a backend into a dm_control that was imported without one.

    dm_control looks into this module for every new context; it has no public function
    for this.
    """
    module = importlib.import_module("dm_control._render")
    if module.BACKEND != _NONE:
        return
    os.environ[_VARIABLE] = backend()
    importlib.reload(module)
