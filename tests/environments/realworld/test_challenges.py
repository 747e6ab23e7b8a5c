"""Challenges in the configuration: the combined rows, each field, what is refused."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from stac.config import Config, ConfigError
from stac.config.challenges import OWN, Challenges
from stac.configs import control
from stac.configs import realworld as numbers
from stac.launch import flags
from stac.launch import realworld as command
from stac.launch.domains import DOMAINS
from tests.environments.realworld.twin import FACTS

FIELDS = dataclasses.fields(Challenges)
PREFIX = "environment.challenges."


def parsed(*arguments: str) -> Config:
    argv = ["launch.realworld", "--runtime=threads", *arguments]
    return flags.parse(argv, DOMAINS["realworld"]).config


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
@pytest.mark.parametrize("domain", FACTS["combined_perturbation_per_domain"])
def test_combined_challenges_are_the_suites_to_the_last_number(domain, level):
    known = FACTS["combined_challenges"][level]
    delay, noise, perturb = known["delay"], known["noise"], known["perturb"]
    parameter = FACTS["combined_perturbation_per_domain"][domain]
    expected = Challenges(
        buffers="faithful",
        action_delay=delay["actions"],
        observation_delay=delay["observations"],
        reward_delay=delay["rewards"],
        action_noise=noise["gaussian"]["actions_std"],
        observation_noise=noise["gaussian"]["observations_std"],
        observation_dropped=noise["dropped"]["observations_prob"],
        observation_dropped_steps=noise["dropped"]["observations_steps"],
        observation_stuck=noise["stuck"]["observations_prob"],
        observation_stuck_steps=noise["stuck"]["observations_steps"],
        action_dropped=noise["dropped"]["actions_prob"],
        action_dropped_steps=noise["dropped"]["actions_steps"],
        action_stuck=noise["stuck"]["actions_prob"],
        action_stuck_steps=noise["stuck"]["actions_steps"],
        action_repetition=noise["repetition"]["actions_prob"],
        action_repetition_steps=noise["repetition"]["actions_steps"],
        perturbation=parameter["param"],
        perturbation_scheduler=perturb["scheduler"],
        perturbation_period=perturb["period_episodes"],
        perturbation_start=parameter["start"],
        perturbation_minimum=parameter[level]["min"],
        perturbation_maximum=parameter[level]["max"],
        perturbation_std=parameter[level]["std"],
        dummy_dimensions=known["dimensionality"]["num_random_state_observations"],
        safety=known["safety"]["enable"],
        multi_objective=known["multiobj"]["enable"],
    )
    assert numbers.challenges(domain, level) == expected


def test_no_challenge_is_the_default_and_the_row_none():
    assert numbers.challenges("walker", "none") == Challenges()
    quiet = {
        field.name: getattr(Challenges(), field.name)
        for field in FIELDS
        if not field.name.startswith(("safety_", "perturbation_", "multi_objective_"))
        and not field.name.endswith("_steps")
    }
    assert quiet.pop("buffers") == "faithful"
    assert not any(quiet.values())


def test_the_papers_numbers_are_those_of_control_from_features():
    chosen = numbers.config("walker.walk", "stac", "hard")
    features = control.config("walker.walk", "stac", "features")
    same = dataclasses.replace(chosen, environment=features.environment)
    assert same == features
    environment = chosen.environment
    assert (environment.domain, environment.task) == ("realworld", "walker.walk")
    assert environment.stagger


def test_settings_that_do_nothing_are_accepted() -> None:
    alone = [
        *("action_repetition=0.5", "observation_dropped_steps=5", "buffers=reset"),
        *("perturbation_scheduler=constant", "perturbation_std=2", "safety=true"),
        *("safety_observed=false", "multi_objective_coefficient=0.5"),
    ]
    for setting in alone:
        parsed("--challenge=none", f"--config.{PREFIX}{setting}")


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_number_is_set_alone_from_the_command_line(field):
    default = getattr(Challenges(), field.name)
    words = {
        "buffers": "reset",
        "perturbation": "pole_mass",
        "perturbation_scheduler": "saw_wave",
    }
    if isinstance(default, bool):
        value: object = not default
    elif isinstance(default, float):
        value = 0.5
    else:
        value = words.get(field.name, 2)
    needed = {"safety": True} if field.name == "multi_objective" else {}
    changed = {**needed, field.name: value}
    arguments = [f"--config.{PREFIX}{name}={is_}" for name, is_ in changed.items()]
    challenges = parsed("--challenge=none", *arguments).environment.challenges
    assert challenges == dataclasses.replace(Challenges(), **changed)
    assert challenges != Challenges()
    assert type(getattr(challenges, field.name)) is type(default)


def test_one_number_of_a_combined_challenge_can_be_changed():
    config = parsed("--challenge=hard", f"--config.{PREFIX}buffers=reset")
    hard = numbers.challenges("cartpole", "hard")
    expected = dataclasses.replace(hard, buffers="reset")
    assert config.environment.challenges == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buffers": "rest"}, "buffers 'rest': did you mean reset?"),
        ({"perturbation_scheduler": "unifrom"}, "did you mean uniform?"),
        ({"action_delay": -1}, r"action_delay=-1: must be in \[0, 10000\]"),
        ({"dummy_dimensions": 10_001}, "dummy_dimensions=10001: must be in"),
        ({"action_noise": -0.1}, r"action_noise=-0.1: must be in \[0, inf\)"),
        ({"observation_dropped": 1.1}, r"dropped=1.1: must be in \[0, 1\]"),
        ({"action_stuck_steps": 0}, r"steps=0: must be in \[1, 10000\]"),
        ({"perturbation_start": 0.0}, r"start=0.0: must be in \(0, inf\) or -1"),
        ({"multi_objective": True}, "weighs the constraints: set safety=true as well"),
    ],
)
def test_a_challenge_that_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        Challenges(**changes)
    assert "\n" not in str(refusal.value)
    assert "environment.challenges." in str(refusal.value)


def test_another_parameter_is_perturbed_within_its_own_range() -> None:
    """Not within the range of the combined challenge's parameter."""
    other = ["--challenge=hard", f"--config.{PREFIX}perturbation=joint_damping"]
    challenges = parsed(*other).environment.challenges
    assert challenges.perturbation == "joint_damping"
    assert challenges.perturbation_minimum == OWN
    assert challenges.perturbation_maximum == OWN
    maximum = f"--config.{PREFIX}perturbation_maximum=2.3"
    assert parsed(*other, maximum).environment.challenges == dataclasses.replace(
        challenges, perturbation_maximum=2.3
    )
    same = f"--config.{PREFIX}perturbation=pole_length"  # as in the combination
    assert parsed("--challenge=hard", same) == parsed("--challenge=hard")


def test_every_range_is_checked():
    free = {"safety", "safety_observed", "safety_action_change", "perturbation"}
    free |= {"multi_objective", "multi_objective_observed"}
    for field in FIELDS:
        if field.name not in free:
            worst = "nonsense" if isinstance(field.default, str) else -7
            with pytest.raises(ConfigError, match=f"environment.*{field.name}"):
                Challenges(**{field.name: worst})
    assert Challenges(perturbation_start=OWN) == Challenges()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--challenge=hrad"], "unknown challenge 'hrad': did you mean hard?"),
        (["--challenge=HARD"], "unknown challenge 'HARD': did you mean hard?"),
        (["--challenge=safety"], "choose one of none, easy, medium, hard"),
        (["--task=walker.wolk"], "unknown realworld task 'walker.wolk': did you"),
        (["--agent=stax"], "unknown agent 'stax': did you mean"),
        ([f"--config.{PREFIX}action_dely=3"], "action_dely: did you mean"),
        ([f"--config.{PREFIX}action_delay=soon"], "must be a whole number"),
        (
            [
                *("--task=walker.walk", "--challenge=none"),
                f"--config.{PREFIX}perturbation=shin_length",
            ],
            "of the walker 'shin_length': did you mean thigh_length",
        ),
        (
            [f"--config.{PREFIX}perturbation_minimum=3"],
            "the minimum 3.0 is above the maximum 1.1",
        ),
    ],
)
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    arguments: list[str], message: str, capsys, tmp_path: pathlib.Path
):
    place = tmp_path / "run"
    argv = ["realworld", "--runtime=threads", f"--workdir={place}", *arguments]
    argv += ["--total_frames=240"]  # it would be short, were it not refused
    assert command.main(argv) == 2
    refusal = capsys.readouterr().err
    assert message in refusal
    assert refusal.count("\n") == 1
    assert not place.exists()


def test_tasks_are_spelled_as_one_likes():
    for spelling in ("walkerwalk", "realworld_walker_walk", "dm_control/walker-walk"):
        assert parsed(f"--task={spelling}").environment.task == "walker.walk"
    environment = parsed("--task=Humanoid-Walk", "--challenge=medium").environment
    assert environment.task == "humanoid.walk"
    assert environment.challenges == numbers.challenges("humanoid", "medium")
