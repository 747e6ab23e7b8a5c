"""From a configuration to environments, also in another process."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from stac import config
from stac.environments import atari, base, make


def configured(**environment: object) -> config.Config:
    return config.Config(environment=config.EnvironmentConfig(**environment))


@pytest.mark.parametrize(
    ("domain", "task", "shape", "actions", "frames"),
    [
        ("atari", "james_bond", (4, 84, 84), 18, 4),
        ("catch", "features", (50,), 3, 1),
        ("catch", "pixels", (1, 40, 20), 3, 1),
    ],
)
def test_the_spec_is_that_of_the_environments(domain, task, shape, actions, frames):
    chosen = configured(domain=domain, task=task)
    spec = make.spec(chosen)
    assert spec.observation_shape == shape
    assert (spec.num_actions, spec.frames_per_step) == (actions, frames)
    assert not spec.continuous
    environment = make.factory(chosen)(0, 3)
    assert environment.spec == spec
    assert environment.num_envs == 3
    timestep = environment.reset()
    assert timestep.observation.shape == (3, *shape)
    assert timestep.observation.dtype == spec.observation_dtype
    environment.close()


def test_asking_for_the_spec_leaves_no_thread():
    before = set(os.listdir("/proc/self/task"))
    make.spec(configured(task="pong"))
    assert not set(os.listdir("/proc/self/task")) - before


@pytest.mark.parametrize(("domain", "task"), [("atari", "pong"), ("catch", "features")])
def test_a_factory_that_travelled_builds_the_same_environment(domain, task):
    factory = make.factory(configured(domain=domain, task=task))
    there = pickle.loads(pickle.dumps(factory))(7, 8)
    here = factory(7, 8)
    np.testing.assert_array_equal(here.reset().observation, there.reset().observation)
    here.close(), there.close()


@pytest.mark.parametrize(("threads", "used"), [(0, 5), (3, 3)])
def test_the_protocol_and_the_threads_are_the_configured_ones(
    monkeypatch, threads, used
):
    monkeypatch.setattr(make, "share_of_cores", lambda actors: 5)
    monkeypatch.setattr(atari, "Atari", lambda *args, **named: (args, named))
    chosen = configured(task="pong", protocol="machado", threads=threads)
    positional, named = make.factory(chosen)(7, 4)
    assert positional == ("pong", 7, 4)
    assert named == {"protocol": "machado", "threads": used}


@pytest.mark.parametrize("runtime", config.RUNTIMES)
def test_games_can_be_restored_where_runs_resume_exactly(monkeypatch, runtime):
    chosen = config.Config(runtime=config.RuntimeConfig(name=runtime))
    environment = make.factory(chosen)(0, 1)
    assert isinstance(environment, base.Restorable) == (runtime == "lockstep")
    environment.close()


def test_actors_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [make.share_of_cores(actors) for actors in (1, 3, 8, 50)] == [8, 2, 1, 1]


@pytest.mark.parametrize(
    ("runtime", "cores", "given", "environments"),
    [
        *[("threads", 2, 0, 16), ("launchpad", 3, 0, 16), ("threads", 4, 0, 32)],
        *[("lockstep", 2, 0, 32), ("threads", 2, 24, 24), ("lockstep", 2, 7, 7)],
    ],
)
def test_environments_of_an_actor_are_given_or_by_its_cores(
    runtime, cores, given, environments, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    chosen = config.RuntimeConfig(name=runtime, envs_per_actor=given)
    assert make.envs_per_actor(config.Config(runtime=chosen)) == environments


def test_an_unknown_domain_is_refused_before_anything_is_built():
    with pytest.raises(config.ConfigError, match="domain 'atary': did you mean atari"):
        make.factory(configured(domain="atary"))
