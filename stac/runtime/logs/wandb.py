"""Weights & Biases: the rows of a run as a run of the project `stac` there.

wandb has settings of its own: WANDB_MODE=offline, WANDB_PROJECT, WANDB_API_KEY, ….
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import shutil
import threading
import uuid
from typing import Any

from stac.config import Config, ConfigError
from stac.runtime.logs.loggers import Scalars

FOLDER = "wandb"  # in the workdir: wandb's own
_ID = f"{FOLDER}/id"  # of the run, for its continuations
_INIT_SECONDS = 20.0  # for the service to answer
_FINISH_SECONDS = 10.0  # for the last rows to be sent


class WandB:
    """A run of wandb, which a continuation of ours continues.

    wandb sends rows from a process of its own, which ends with this one.
    """

    def __init__(self, path: pathlib.Path, config: Config) -> None:
        """Begins the run of the workdir `path`; where nobody answers, rows are lost.

        Raises:
          ConfigError: wandb refuses: nobody is logged in.
        """
        self._path, self._config = path, config
        self._run: Any = None
        self._why = ""  # why there is no run
        # Not even its warnings belong in a terminal, nor may it ask questions there.
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_CACHE_DIR", str(path / FOLDER / "cache"))
        was_there = (path / FOLDER).exists()
        try:
            self._run = self._begin()
        except ConfigError:
            if not was_there:
                shutil.rmtree(path / FOLDER, ignore_errors=True)
            raise
        except Exception as error:  # noqa: BLE001 - training does not wait for it
            self._why = str(error).split(". ")[0]

    def write(self, values: Scalars) -> None:
        """Raises where there is no run, and what wandb raises."""
        if self._run is None:
            raise RuntimeError(self._why)
        finite = {name: float(x) for name, x in values.items() if math.isfinite(x)}
        self._run.log(finite)

    def close(self) -> None:
        """Gives the last rows 10 s to be sent; wandb keeps them in the workdir."""
        run, self._run = self._run, None
        if run is not None:
            ending = threading.Thread(target=run.finish, daemon=True)
            ending.start()
            ending.join(_FINISH_SECONDS)

    def _begin(self) -> Any:
        import wandb  # seconds, and only where it is asked for

        played = self._config.environment
        try:
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "stac"),
                name=self._path.name,
                group=f"{played.domain}/{played.task}",
                id=self._identity(),
                resume="allow",
                dir=str(self._path),
                config=dataclasses.asdict(self._config),
                settings=wandb.Settings(
                    console="off", silent=True, init_timeout=_INIT_SECONDS
                ),
            )
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            raise ConfigError(
                f"--logger=wandb: {str(error).rstrip('.')}; or set WANDB_MODE=offline"
            ) from error
        # Not wandb's own step, which cannot go back to a checkpoint.
        run.define_metric("*", step_metric="frames")
        with contextlib.suppress(OSError):  # the disk is full
            (self._path / _ID).write_text(run.id)
        return run

    def _identity(self) -> str:
        file = self._path / _ID
        return file.read_text().strip() if file.exists() else uuid.uuid4().hex[:8]
