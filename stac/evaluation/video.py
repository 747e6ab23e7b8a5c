"""An MP4 of one whole episode."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from typing import Any

import jax
import numpy as np

from stac.config import ConfigError, check
from stac.environments import pictures
from stac.evaluation import episodes, protocols
from stac.evaluation.episodes import Tell
from stac.evaluation.policies import Policy
from stac.runtime import actor

_CURE = "--video needs the package imageio-ffmpeg: pip install 'stac-rl[video]'"


def check_file(path: pathlib.Path) -> None:
    """Refuses a video that could not be written, before anything is played.

    Raises:
      ConfigError: the encoder is missing, or the file has no place.
    """
    _encoder()
    check(path.suffix == ".mp4", f"--video={path}: must end in .mp4")
    check(path.parent.is_dir(), f"--video={path}: there is no such directory")


def record(
    path: pathlib.Path,
    policy: Policy,
    noise: float,
    seed: int = 0,
    tell: Tell = lambda ended, steps: None,
) -> float:
    """Films the first episode of one environment; returns its raw return.

    Args:
      path: of the file, which is written over.
      policy: that acts.
      noise: see Policy.
      seed: of environment and samples.
      tell: see episodes.returns.

    Raises:
      ConfigError: the environment has no pictures, or a library is missing.
    """
    film = pictures.filmed(protocols.evaluated(policy.config), seed)
    with (
        jax.default_device(actor.acting_device()),
        contextlib.closing(film.environment) as environment,
    ):
        act, total, step = policy.act(1, noise, seed), 0.0, 0
        timestep = environment.reset()
        with contextlib.closing(_File(path, film.frames_per_second)) as file:
            while True:
                file.send(film.picture(timestep))
                if timestep.last[0]:
                    return total
                episodes.check_length(step)
                timestep, step = environment.step(act(timestep, step)), step + 1
                total += float(timestep.reward[0])
                tell(0, step)


class _File:
    """Pictures of one size, encoded as they come by ffmpeg in a process of its own."""

    def __init__(self, path: pathlib.Path, frames_per_second: float) -> None:
        self._path, self._rate = path, frames_per_second
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, picture: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, 3].

        Raises:
          ConfigError: the file cannot be written.
        """
        # Its colours have half the resolution, so that height and width must be even.
        height, width = (length + length % 2 for length in picture.shape[:2])
        even = np.zeros((height, width, 3), np.uint8)
        even[: picture.shape[0], : picture.shape[1]] = picture[..., :3]
        if self._process is None:
            self._process = self._start(height, width)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(even.tobytes())
        except BrokenPipeError:  # `close` says why
            self.close()
            raise

    def close(self) -> None:
        """Waits until the file is written; raises ConfigError where it is not."""
        process, self._process = self._process, None
        if process is None:
            return
        _, words = process.communicate()
        reason = words.decode(errors="replace").strip().split("\n")[-1]
        check(not process.returncode, f"--video={self._path}: {reason}")

    def _start(self, height: int, width: int) -> subprocess.Popen[bytes]:
        """Not by the library's own writer: it forks, and JAX warns of forks."""
        pictures_in = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._rate}"
        film_out = "-i - -c:v libx264 -pix_fmt yuv420p -movflags +faststart"
        return subprocess.Popen(
            [
                _encoder().get_ffmpeg_exe(),
                *("-loglevel", "error", "-y"),
                *f"{pictures_in} {film_out}".split(),
                str(self._path.absolute()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


def _encoder() -> Any:
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped] # it ships no types
    except ImportError as error:
        raise ConfigError(_CURE) from error
    return imageio_ffmpeg
