"""The DeepMind Control Suite: 28 benchmark tasks and the extra ones.

Every episode of the benchmark is 1,000 control steps and rewards are in [0, 1], so
returns are at most 1,000. Its end is a time limit: discount 1. No action repeat (Tassa
et al. 2018).
"""

from __future__ import annotations

from typing import Any

import dm_env
import numpy as np

from stac import config
from stac.environments import base, rendering

SIZE = 84  # pixels, height and width (Tassa et al. 2018)
# Camera 0 is the paper's (Tassa et al. 2018). The quadruped's is so far above that the
# animal is a dozen pixels wide; camera 2 follows it, and is Dreamer's and TD-MPC2's.
CAMERAS = {"quadruped": 2}
# Its terrain is drawn at every reset, whatever is observed.
NEEDS_OPENGL = ("quadruped.escape",)


def task(name: str) -> str:
    """The name `domain.task` of a task, from any usual spelling of it.

    `walker.walk`, `walker_walk`, `Walker-Walk`, `WalkerWalk-v1` and
    `dm_control/walker-walk-v0` are `walker.walk`.

    Raises:
      ConfigError: there is no such task, and the message names the nearest ones; or
        its actions have no bounds.
    """
    config.check(
        not base.letters(name).startswith("lqr"),
        f"control task {name}: its actions have no bounds to which ours could be"
        " scaled; --task=list names the others",
    )
    return base.named("control task", name, tasks(), "--task=list names all")


def tasks() -> list[str]:
    """Every task but lqr's, the benchmark's first: `["acrobot.swingup", …]`."""
    suite = rendering.suite(renders=False)
    pairs = (*suite.BENCHMARKING, *suite.EXTRA)
    return [".".join(pair) for pair in pairs if pair[0] != "lqr"]


def environment(name: str, observations: str, seed: int) -> dm_env.Environment:
    """One environment of one task.

    Args:
      name: any spelling that `stac.environments.control.task` knows.
      observations: "features", the task's own dictionary; or "pixels", {"pixels":
        uint8 [84, 84, 3]} of one camera, RGB, the sky up.
      seed: in [0, 2^32); of the initial states.

    Raises:
      ConfigError: an unknown task, or nothing can render.
    """
    pixels = observations == "pixels"
    known = task(name)
    suite = rendering.suite(renders=pixels or known in NEEDS_OPENGL)
    domain, kind = known.split(".")
    loaded = suite.load(domain, kind, task_kwargs={"random": seed})
    return CameraView(loaded, CAMERAS.get(domain, 0)) if pixels else loaded


class CameraView(dm_env.Environment):
    """A suite environment whose only observation is the picture of one camera."""

    def __init__(self, environment: Any, camera: int) -> None:
        self._environment = environment
        self._camera = camera

    @property
    def physics(self) -> Any:
        return self._environment.physics

    def reset(self) -> dm_env.TimeStep:
        return self._with_picture(self._environment.reset())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        return self._with_picture(self._environment.step(action))

    def observation_spec(self) -> dict[str, dm_env.specs.Array]:
        shape = (SIZE, SIZE, 3)
        return {"pixels": dm_env.specs.Array(shape, np.uint8, name="pixels")}

    def action_spec(self) -> dm_env.specs.BoundedArray:
        return self._environment.action_spec()

    def close(self) -> None:
        """Frees the rendering context, in the thread that owns it."""
        self._environment.physics.free()

    def _with_picture(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
        picture = self._environment.physics.render(SIZE, SIZE, camera_id=self._camera)
        return timestep._replace(observation={"pixels": picture})
