"""What a GPU makes of the paper's agents on Atari: `benchmarks/gpu.sh` runs this.

    benchmarks/gpu.sh --seconds=60

Importance ratios of an actor on the CPU and a learner on the GPU at the same
parameters, with TF32 and without; the environments alone; then every agent in
`threads` on all cores: frames/s, the share of its time that the GPU worked, and the
minutes of 200 million frames. Without a GPU the learner's device is the CPU.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks import throughput
from benchmarks.update import SPEC
from stac.agents import actor_critic
from stac.agents.make import ACTOR_CRITICS
from stac.configs import atari as numbers
from stac.launch import cli
from stac.networks import network as networks
from stac.runtime import actor

FRAMES = numbers.config().total_frames
REPEAT = SPEC.frames_per_step
_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
_ASK = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
_ROWS = 64


def ratios(network: str, precision: str) -> tuple[float, float]:
    """Importance ratios at the same parameters: the mean and largest |ratio - 1|.

    Args:
      network: of Atari.
      precision: of the learner's matrix products, a name of JAX's: "highest" is
        float32, "default" may be TF32 on a GPU.
    """
    config = numbers.config(agent="impala", network=network)
    agent = actor_critic.build(config, SPEC)
    distribution = actor_critic.own_distribution(config, SPEC)
    built = networks.make(config, distribution.bias, SPEC)
    state = jax.device_get(jax.jit(agent.init)(jax.random.PRNGKey(0)))
    rng = np.random.default_rng(0)
    observation = rng.integers(0, 256, (_ROWS, *SPEC.observation_shape), np.uint8)
    first = np.zeros(_ROWS, bool)
    with jax.default_device(actor.acting_device()):
        output, _ = jax.jit(agent.act)(
            agent.actor_params(state), jax.random.PRNGKey(1), observation, first, ()
        )
        acted = jax.device_get(output)

    def log_prob(params, observation, first, action):  # type: ignore[no-untyped-def]
        rows = observation[:, None], first[:, None]
        head = built.unroll(params, *rows, (), np.ones(config.agent.heads))[0]
        return distribution.log_prob(head.policy[:, 0], action)

    with jax.default_matmul_precision(precision):
        learned = jax.jit(log_prob)(state.params, observation, first, acted.action)
    error = np.abs(np.exp(np.asarray(learned) - acted.log_prob) - 1.0)
    return float(error.mean()), float(error.max())


@contextlib.contextmanager
def watched() -> Iterator[list[float]]:
    """The GPU's utilisation in percent, once a second; stays empty without a GPU."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while shutil.which(_ASK[0]) and not over.wait(1.0):
            answer = subprocess.run(_ASK, capture_output=True, text=True, check=False)
            with contextlib.suppress(ValueError):
                seen.append(float(np.mean([*map(float, answer.stdout.split())])))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    long = "each measurement (default %(default)g)"
    parser.add_argument("--seconds", type=float, default=60.0, help=long)
    parser.add_argument("--network", default="deep", help="deep or shallow")
    parser.add_argument("--agents", default=",".join(ACTOR_CRITICS), help="with commas")
    arguments, extra = parser.parse_known_args()
    agents = arguments.agents.split(",")
    played = throughput.What.read(f"atari:james_bond:{arguments.network}")
    played.check(agents, ["threads"], extra)
    os.environ[_PREALLOCATE] = "false"  # here alone: the runs need the GPU's memory
    kind = jax.devices()[0].device_kind
    del os.environ[_PREALLOCATE]
    print(
        f"{os.cpu_count()} cores, {jax.device_count()} x {kind}, JAX {jax.__version__}"
    )
    for precision in ("default", "highest"):
        mean, largest = ratios(arguments.network, precision)
        words = f"|importance ratio - 1| at lag 0, precision {precision}:"
        print(f"{words} mean {mean:.1e}, largest {largest:.1e}", flush=True)
    rate = throughput.alone(played, 0)
    print(
        f"environments alone, all cores: {REPEAT * rate.steps_per_second:,.0f} frames/s"
    )
    print(f"{'agent':12} {'frames/s':>10} {'GPU works':>10} {'200M frames':>12}")
    for agent in agents:
        with watched() as seen:
            rate = throughput.runtime(
                played, "threads", agent, arguments.seconds, extra
            )
        frames = REPEAT * rate.steps_per_second
        # The second half: before it the program starts and compiles.
        works = f"{np.mean(seen[len(seen) // 2 :]):.0f} %" if seen else "-"
        minutes = f"{FRAMES / frames / 60:,.0f} min"
        print(f"{agent:12} {frames:10,.0f} {works:>10} {minutes:>12}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
