"""The commands that train, a row each: `python -m launch.atari` reads DOMAINS["atari"].

A row's name is that of its command, and of its numbers in `stac.configs`.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from stac import references
from stac.config import Config
from stac.configs import mujoco


class Domain(NamedTuple):
    """The part of the command line that is one command's own."""

    name: str  # "atari"
    summary: str  # the tasks, in one line
    # {name: (default, help)}: all are words, and the first one names the task.
    flags: Mapping[str, tuple[str, str]]
    # "module:name" of all tasks' names, for `list`, or of a function that returns them;
    # to resolve it may import a simulator.
    tasks: str
    task: str = "builtins:str"  # from any spelling of a task to its own name
    agent: str = "stacx"  # where --agent is not given
    studied: Callable[[], Iterable[str]] | None = None  # tasks of a sweep; None: all

    @property
    def program(self) -> str:
        return f"launch.{self.name}"

    @property
    def task_flag(self) -> str:
        return next(iter(self.flags))

    def config(self, agent: str, **words: str) -> Config:
        """The domain's numbers, by the values of `flags`."""
        numbers: Config = pkgutil.resolve_name(f"stac.configs.{self.name}:config")(
            agent=agent, **words
        )
        return numbers

    def spelled(self, task: str) -> str:
        """A task's own name; raises a ConfigError where there is no such task."""
        return str(pkgutil.resolve_name(self.task)(task))

    def all_tasks(self) -> list[str]:
        found = pkgutil.resolve_name(self.tasks)
        return list(found() if callable(found) else found)


_ROWS = (
    Domain(
        "catch",
        "a tiny game, to see everything work within a minute",
        {"task": ("features", "features (a flat grid) or pixels")},
        tasks="stac.environments.catch:TASKS",
        studied=lambda: ["features"],
    ),
    Domain(  # --env=module:Id imports a module, which registers Id
        "gymnasium",
        "any environment of gymnasium, such as --env=CartPole-v1",
        {"env": ("CartPole-v1", "an id, or module:id; list names all")},
        tasks="stac.environments.gymnasium:tasks",
        task="stac.environments.gymnasium:task",
        studied=lambda: ["CartPole-v1"],
    ),
    Domain(
        "minatar",
        "MinAtar, five small games that are learned in minutes",
        {"game": ("breakout", "asterix, breakout, freeway, seaquest, …")},
        tasks="stac.environments.minatar:GAMES",
        task="stac.environments.minatar:task",
    ),
    Domain(
        "atari",
        "an Atari 2600 game, such as --game=pong",
        {
            "game": ("james_bond", "any of ale-py's games, in any usual spelling"),
            "network": ("deep", "deep (the paper's) or shallow (for a CPU)"),
        },
        tasks="stac.environments.atari:games",
        task="stac.environments.atari:rom_id",
        studied=references.atari,  # the 57 of the paper
    ),
    Domain(
        "control",
        "a task of the DeepMind Control Suite, such as --task=walker.walk",
        {
            "task": (
                "walker.walk",
                "domain.task, in any usual spelling; list names all",
            ),
            "observations": (
                "features",
                "features or pixels (84x84 RGB of one camera)",
            ),
        },
        tasks="stac.environments.control:tasks",
        task="stac.environments.control:task",
        studied=references.control,  # the suite's benchmark
    ),
    # Each challenge also alone: --challenge=none
    # --config.environment.challenges.action_delay=3
    Domain(
        "realworld",
        "a task of the Real-World RL suite, such as --task=walker.walk",
        {
            "task": ("cartpole.swingup", "in any usual spelling; list names all four"),
            "challenge": (
                "easy",
                "none, or all of them together: easy, medium or hard",
            ),
        },
        tasks="stac.environments.realworld.suite:TASKS",
        task="stac.environments.realworld.suite:task",
    ),
    Domain(
        "mujoco",
        "locomotion in MuJoCo, such as --env=Hopper-v4",
        {"env": ("Hopper-v4", "Ant, HalfCheetah, Hopper, Humanoid, Walker2d, …")},
        tasks="stac.environments.gymnasium:mujoco_tasks",
        task="stac.environments.gymnasium:task",
        agent="meta_sac",
        studied=lambda: [f"{name}-v4" for name in mujoco.STEPS],  # Meta-SAC's
    ),
)
DOMAINS = {row.name: row for row in _ROWS}


def command(name: str) -> Callable[..., int]:
    """The `main` of the command that trains on a domain."""
    from stac.launch import flags, start  # which read this table

    return functools.partial(flags.main, start.run, DOMAINS[name])
