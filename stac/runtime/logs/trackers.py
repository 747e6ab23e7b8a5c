"""The loggers that `--logger=NAME,NAME` names, beside metrics.jsonl.

Another tracker is another row of `TRACKERS`: a class with `write` and `close`.
"""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from stac.config import Config, ConfigError, check, choose
from stac.runtime.logs import loggers, wandb

NONE = "none"


class Tracker(NamedTuple):
    """A kind of logger."""

    # (workdir, configuration, frames of the run so far) -> logger
    build: Callable[[pathlib.Path, Config, int], loggers.Logger]
    library: str
    cure: str  # where the library is missing
    file: str  # in the workdir, as it is named where it cannot be written


TRACKERS = {
    "tensorboard": Tracker(
        lambda path, config, frames: loggers.TensorBoard(path, frames),
        "tensorboardX",
        "pip install tensorboardX",
        "events.out.tfevents",
    ),
    "wandb": Tracker(
        lambda path, config, frames: wandb.WandB(path, config),
        "wandb",
        "pip install 'stac-rl[wandb]'",
        "wandb",
    ),
}


def names(text: str) -> list[str]:
    """["tensorboard", "wandb"] of `tensorboard,wandb`; [] of `none`.

    Raises:
      ConfigError: there is no such logger, or its library is not installed.
    """
    words = list(dict.fromkeys(text.replace(",", " ").split()))
    check(words, f"--logger={text}: name {_listed()}, or several with commas")
    if words == [NONE]:
        return []
    for name in words:
        check(name != NONE, f"--logger={text}: none stands alone")
        tracker = TRACKERS[choose("logger", name, [*TRACKERS, NONE])]
        if not _installed(tracker.library):
            raise ConfigError(
                f"--logger={name}: {tracker.library} is not installed: {tracker.cure}"
            )
    return words


def build(
    text: str, path: pathlib.Path, config: Config, frames: int
) -> dict[str, loggers.Logger]:
    """The loggers of `names(text)` by their files, which go on after `frames`."""
    chosen = [TRACKERS[name] for name in names(text)]
    return {each.file: each.build(path, config, frames) for each in chosen}


def _listed() -> str:
    return ", ".join([*TRACKERS, NONE])


def _installed(library: str) -> bool:
    spec = importlib.util.find_spec(library)
    # A mere directory of that name, as wandb leaves where it runs, has no origin.
    return spec is not None and spec.origin is not None
