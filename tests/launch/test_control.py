"""The control command: what it asks, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest

from stac import config as configuration
from stac.config import Config
from stac.configs import control as numbers
from stac.environments import make
from stac.environments.realworld import suite
from stac.environments.vector import batched
from stac.launch import flags
from stac.launch.domains import DOMAINS

pytestmark = pytest.mark.usefixtures("elsewhere")


def parsed(*arguments: str) -> Config:
    return flags.parse(
        ["x", "--runtime=lockstep", *arguments], DOMAINS["control"]
    ).config


def test_without_flags_it_is_the_papers_run_on_features() -> None:
    config = parsed()
    assert config.environment.task == "walker.walk"
    assert config.network.torso == "mlp"
    assert config.network.mlp_hiddens == (256, 256)
    assert config.network.lstm_size == config.network.head_hidden == 256
    assert (config.network.policy_scale, config.network.initial_std) == (0.01, 0.5)
    assert config.total_frames == 30_000_000
    assert config.agent.reward_clip == 0
    assert config.environment.stagger


def test_every_number_of_the_control_tables() -> None:
    """Table 3's control column, typed in here a second time."""
    config = parsed()
    assert dataclasses.astuple(config.agent.outer) == (
        *(0.99, 1.0, 1.0, 0.25, 1.0, 0.01, 1.0, 1.0),
    )
    assert dataclasses.astuple(config.optimizer) == (
        *(1e-3, 1e-4, 0.99, 0.1, 0.0, 40.0, True, 1e-3, 0.9, 0.999, 1e-4),
    )
    assert dataclasses.astuple(config.batch) == (24, 40, 30, 0)
    assert (config.agent.initial_raw, config.agent.initial_raw_gamma) == (4.6, 4.6)
    assert config.agent.reduction == "sum"


def test_pixels_have_a_network_of_their_own_and_share_all_other_numbers() -> None:
    config = parsed("--observations=pixels", "--task=QUADRUPED_RUN")
    assert config.environment.task == "quadruped.run"
    other = {"environment.observations": "pixels", "network.torso": "residual_strided"}
    assert config == configuration.changed(parsed("--task=quadruped.run"), other)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--task=walker.wolk", "did you mean walker.walk"),
        ("--observations=pixel", "did you mean pixels"),
        ("--task=lqr.lqr_2_1", "no bounds"),
        ("--task=lqr", "no bounds"),
        # Though pixels is near:
        ("--observations=list", "choose one of features, pixels"),
        ("--task=cartpole/swngup", "'cartpole/swngup': did you mean cartpole.swingup"),
        ("--agent=stac_x", "did you mean stacx"),
        ("--agent=STACX", "did you mean stacx"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(config: Config, workdir: str) -> None:
        raise AssertionError(f"{workdir} was run")

    status = flags.main(
        never, DOMAINS["control"], ["x", "--runtime=lockstep", argument]
    )
    output = capsys.readouterr().err
    assert status == flags.USER_ERROR
    assert message in output
    assert output.count("\n") == 1


def test_the_help_names_tasks_and_observations() -> None:
    with pytest.raises(flags.Help) as helped:
        parsed("--help")
    for words in ("--task", "--observations", "features or pixels", "walker.walk"):
        assert words in str(helped.value)
    for refused in ("environment.protocol", "environment.challenges"):
        assert refused not in str(helped.value)


def test_the_real_world_row_hands_on_task_and_challenges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []
    monkeypatch.setattr(
        make, "_batched", lambda maker, config, seed, num_envs: given.append(maker)
    )
    config = numbers.config()
    environment = parsed("--config.environment.stagger=false").environment
    assert not environment.stagger
    make.DOMAINS["realworld"](config, 1, 2)
    assert given[0].func is suite.environment
    assert given[0].args == ("walker.walk", config.environment.challenges)


def test_seeds_of_environments_are_unrelated_to_those_of_other_actors() -> None:
    built = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched, "Batched", lambda *a, **named: built.append((a, named)))
        for seed in (1, 2):
            make.factory(parsed())(seed, 24)
    seeds = [seed for (_, these), _ in built for seed in these]
    cuts = [named["seed"] for _, named in built]  # drawn apart from all of these
    assert len({*seeds, *cuts}) == 50
    named = built[0][1]
    assert (named["stagger_steps"], named["workers"]) == (1000, "auto")
