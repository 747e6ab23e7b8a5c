"""STACX learns catch, with all parts of an actor-learner in sight.

An actor thread and a learner, joined by a queue one way and by a store of parameters
the other way. A trajectory travels like this:

    environment.step -> Actor.unroll -> queue.put -> queue.get -> agent.update
                             ^                                         |
                             +-------- parameters.publish <------------+

Run it with `.venv/bin/python examples/catch.py`; it takes about a minute. It prints
the mean return, which is 1 for perfect play, and head 1's discount, one of the
hyperparameters that STACX tunes while it learns. The commands in `launch/` add flags,
checkpoints, logs, several processes, and restarts of actors that fail.
"""

from __future__ import annotations

import threading

import jax
import numpy as np

from stac.agents import base, make
from stac.configs import catch as numbers
from stac.environments import catch
from stac.runtime.actor import Actor
from stac.runtime.queues.local import LocalQueue, ParameterStore

SEED = 1
UPDATES = 800
PRINT_EVERY = 100  # updates


def main() -> None:
    """Builds the parts, lets the actor act in a thread, and learns in this one."""
    config = numbers.config(agent="stacx")  # network, losses, optimizer and batch
    batch_size = config.batch.batch_size  # one trajectory of each environment
    environment = catch.Catch("features", SEED, num_envs=batch_size)
    agent = make.build(config, environment.spec)

    parameters = ParameterStore()
    queue = LocalQueue(capacity=batch_size)
    actor = Actor(agent, environment, config.batch, SEED, index=0)

    def act() -> None:
        try:
            actor.run(parameters, queue)  # until parameters or queue are closed
        finally:
            queue.close()  # an actor that fails must not leave the learner waiting

    acting = threading.Thread(target=act)
    acting.start()
    print(f"{UPDATES} updates; compiling the first takes a while", flush=True)
    try:
        learn(agent, batch_size, parameters, queue)
    except KeyboardInterrupt:
        print("stopped")
    finally:
        queue.close()
        parameters.close()
        acting.join()


def learn(
    agent: base.Agent, batch_size: int, parameters: ParameterStore, queue: LocalQueue
) -> None:
    """Makes an update on each batch, and publishes parameters before each."""
    state = jax.jit(agent.init)(jax.random.PRNGKey(SEED))
    update = jax.jit(
        lambda state, trajectory: agent.update(state, trajectory, base.no_devices)
    )
    returns: list[float] = []  # of the episodes that ended, in order
    for number in range(UPDATES):
        params = jax.tree.map(np.asarray, agent.actor_params(state))
        parameters.publish(number, params)
        batch = queue.get(batch_size)
        state, metrics = update(state, batch.trajectory)

        episode_return = batch.report.episode_return  # NaN where no episode ended
        returns += episode_return[~np.isnan(episode_return)].tolist()
        if (number + 1) % PRINT_EVERY == 0:
            print(
                f"update {number + 1:4}   return {np.mean(returns[-200:]):5.2f}"
                f"   discount {metrics['hyperparameters/gamma/head_1']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
