"""`python -m launch.evaluate RUN [RUN…] --episodes=200`: scores what runs have learned.

    python -m launch.evaluate runs/catch/features/stacx_seed1
    python -m launch.evaluate --workdir=runs/pong --episodes=200 --best --video=pong.mp4
    python -m launch.evaluate runs/control/cartpole.balance/* --noise=1,0.5,0

For each run, of any runtime: mean return ± standard error of whole episodes under the
suite's own rules (docs/evaluation.md), by the way of acting. Discrete actions are
`sampled`, as actors do, and `greedy`; continuous ones are `sampled` and the `mean`, or
have each factor of --noise. All play from the same starts. The numbers also go to
`evaluation.json` in the workdir.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stac.config import USER_ERROR, ConfigError, check
from stac.launch import cli
from stac.runtime.faults import lines
from stac.runtime.storage import disk, workdir

if TYPE_CHECKING:  # a wrong command line is refused without the seconds of an import
    from stac.evaluation.policies import Policy

_SECONDS = 5.0  # between two lines of progress


def _parser(name: str) -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog=name,
        description=(__doc__ or "").split("\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = cli.path
    parser.add_argument("runs", type=path, nargs="*", metavar="RUN", help="a workdir")
    parser.add_argument(
        "--workdir", type=path, action="append", default=[], help="the same"
    )
    parser.add_argument("--episodes", type=int, default=24, help="(default 24)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of starts and samples"
    )
    factors = "factors for continuous actions (default 1,0)"
    parser.add_argument("--noise", help=factors)
    best = "the best-scoring checkpoint, which --best kept in training, not the newest"
    parser.add_argument("--best", action="store_true", help=best)
    video = "an MP4 of one episode, of the first way of acting"
    parser.add_argument("--video", type=path, metavar="FILE.mp4", help=video)
    return parser


def _main(name: str, arguments: Sequence[str]) -> int:
    """Plays and prints."""
    given = _parser(name).parse_intermixed_args(arguments)
    paths = [*given.workdir, *given.runs]
    check(paths, "name a run: launch.evaluate WORKDIR")
    few = "--episodes: must be at least 2, for a standard error"
    check(given.episodes > 1, few)
    check(0 <= given.seed < 2**31, "--seed: must be in [0, 2^31)")
    noise = None if given.noise is None else _factors(given.noise)
    if given.video is not None:
        from stac.evaluation import video

        check(len(paths) == 1, "--video: films one run: name only one")
        video.check_file(given.video)
    refused = False
    for path in paths:
        try:
            with cli.refusing_files():
                _evaluate(path, noise, given)
        except ConfigError as error:  # the others are scored all the same
            lines.to_stderr(f"{name}: {error}")
            refused = True
    return USER_ERROR if refused else 0


def _evaluate(
    path: pathlib.Path, factors: Sequence[float] | None, given: argparse.Namespace
) -> None:
    """Prints the line of a run, and writes its file."""
    from stac.evaluation import policies, scores

    policy = policies.load(path, given.best)
    cure = f"{path}: its actions are discrete and have no noise: leave --noise out"
    check(policy.spec.continuous or factors is None, cure)
    ways = policies.ways(
        policy.config, policy.spec, factors or (policies.SAMPLED, policies.STILL)
    )
    if given.video is not None:  # first, for what is missing is known at once
        way, noise = next(iter(ways.items()))
        _film(given.video, policy, way, noise, given.seed)
    count, results = given.episodes, {}
    for way, noise in ways.items():
        tell = _Progress(f"{path}: {way}", f" of {count} episodes")
        results[way] = scores.score(policy, noise, count, given.seed, tell)
    cells = [f"{way} {_cell(policy, returns)}" for way, returns in results.items()]
    lines.to_stdout("  ".join([f"{path}  update {policy.updates:,}", *cells]))
    kept = workdir.BEST if given.best else workdir.CHECKPOINTS
    content: dict[str, Any] = {
        "frames": policy.frames,
        "updates": policy.updates,
        "checkpoint": f"{kept}/{policy.updates}",
        "seed": given.seed,
        **scores.row(policy.config, results),
        "returns": {way: returns.tolist() for way, returns in results.items()},
    }
    disk.write_whole(path / workdir.EVALUATION, json.dumps(content) + "\n")


def _cell(policy: Policy, returns: Any) -> str:
    """`1.25 ± 0.12 (12.3% of human)`."""
    from stac.evaluation import scores
    from stac.evaluation.episodes import Returns

    values = Returns.of(returns)
    human = scores.human_normalised(policy.config, values.mean)
    return str(values) if human is None else f"{values} ({human:.1%} of human)"


def _film(
    path: pathlib.Path, policy: Policy, way: str, noise: float, seed: int
) -> None:
    from stac.evaluation import video

    tell = _Progress(f"{path}: filming", " episodes")
    total = video.record(path, policy, noise, seed, tell)
    lines.to_stdout(f"written: {path}, one episode, {way}, return {total:,.4g}")


class _Progress:
    """Prints `x: sampled: 3 of 24 episodes, 812 steps` to stderr every few seconds."""

    def __init__(
        self, what: str, unit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._unit, self._clock = what, unit, clock
        self._printed = clock()

    def __call__(self, ended: int, steps: int) -> None:
        if self._clock() - self._printed >= _SECONDS:
            self._printed = self._clock()
            lines.to_stderr(f"{self._what}: {ended}{self._unit}, {steps:,} steps")


def _factors(written: str) -> list[float]:
    with contextlib.suppress(ValueError):
        factors = [float(word) for word in written.split(",")]
        if all(0 <= factor < 100 for factor in factors):
            return factors
    raise ConfigError(f"--noise={written}: write factors, as in --noise=1,0.5,0")


main = cli.script("launch.evaluate", _main)

if __name__ == "__main__":
    sys.exit(main())
