"""Challenges in the configuration: the combined rows, each field, what is refused."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from stac.config import Config, ConfigError
from stac.config.challenges import OWN, SCHEDULERS, Challenges
from stac.configs import control
from stac.configs import realworld as numbers
from stac.environments.realworld import schedules
from stac.launch import flags, overrides
from stac.launch import realworld as command
from tests.environments.realworld.twin import FACTS

FIELDS = dataclasses.fields(Challenges)
PREFIX = "environment.challenges."


def parsed(*arguments: str) -> Config:
    argv = ["launch.realworld", "--runtime=threads", *arguments]
    return flags.parse(argv, command.DOMAIN).config


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


def needed(name: str) -> dict[str, object]:
    """Numbers without which one would change nothing."""
    if name == "action_repetition":
        return {"action_repetition_steps": 3}
    if name == "buffers":
        return {"reward_delay": 3}
    if name.endswith("_steps"):
        return {name.removesuffix("_steps"): 0.5}
    if name.startswith("multi_objective"):
        return {
            "safety": True,
            "multi_objective": True,
            "multi_objective_observed": True,
        }
    if name in ("perturbation_start", "perturbation_std"):
        return {"perturbation": "pole_mass", "perturbation_scheduler": "random_walk"}
    if name == "safety_observed":
        return {
            "safety": True,
            "multi_objective": True,
            "multi_objective_coefficient": 0.5,
        }
    for switch, value in (("safety", True), ("perturbation", "pole_mass")):
        if name.startswith(f"{switch}_"):
            return {switch: value}
    return {}


ALONE = [field.name for field in FIELDS if needed(field.name)]


@pytest.mark.parametrize("name", [n for n in ALONE if n != "multi_objective"])
def test_a_number_that_would_change_nothing_is_refused(name: str) -> None:
    other = {bool: "true", float: 0.5, int: 2, str: "uniform"}
    value = other[type(getattr(Challenges(), name))]
    if name == "perturbation_scheduler":
        value = "saw_wave"
    elif name == "safety_observed":
        value = "false"
    elif name == "buffers":
        value = "reset"
    with pytest.raises(ConfigError, match=f"{PREFIX}{name}=.*: does nothing without"):
        parsed("--challenge=none", f"--config.{PREFIX}{name}={value}")


RANGE = schedules.Range(start=1.0, minimum=0.5, maximum=2.0, std=0.5)
OTHER = {"start": 0.9, "minimum": 1.5, "maximum": 0.9, "std": 0.3}


def course(scheduler: str, within: schedules.Range) -> list[float]:
    random = np.random.default_rng(0)
    schedule = schedules.Schedule(scheduler, within, random)
    return [schedule.next() for _ in range(50)]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("number", [*OTHER, "period"])
def test_what_the_scheduler_does_not_read_is_refused(number: str, scheduler: str):
    if number == "period":
        read = scheduler != "constant"
    else:
        other = RANGE._replace(**{number: OTHER[number]})
        read = course(scheduler, other) != course(scheduler, RANGE)
    asked = {
        "perturbation": "joint_damping",
        "perturbation_scheduler": scheduler,
        f"perturbation_{number}": 2,
    }
    if scheduler == "constant" and number != "start":
        asked["perturbation_start"] = 0.5  # what it changes
    arguments = [f"--config.{PREFIX}{name}={value}" for name, value in asked.items()]
    if read:
        parsed("--challenge=none", *arguments)
    else:
        said = rf"_{number}=2.*: does nothing with .*={scheduler}: it is for "
        message = rf"{said}(?!.*{scheduler})"
        with pytest.raises(ConfigError, match=message):
            parsed("--challenge=none", *arguments)


def test_a_number_of_the_parameters_own_may_always_be_asked_for():
    own = [f"--config.{PREFIX}perturbation_{name}=-1" for name in ("start", "std")]
    found = parsed("--challenge=hard", *own).environment.challenges
    assert (found.perturbation_start, found.perturbation_std) == (OWN, OWN)


def test_what_is_taken_out_of_a_combination_may_leave_its_numbers() -> None:
    out = ("observation_dropped=0", "action_repetition=0", "perturbation=")
    hard = ["--challenge=hard", *(f"--config.{PREFIX}{name}" for name in out)]
    found = parsed(*hard).environment.challenges
    assert (found.observation_dropped, found.observation_dropped_steps) == (0, 10)
    assert (found.action_repetition, found.action_repetition_steps) == (0, 3)
    assert (found.perturbation, found.perturbation_maximum) == ("", 2.3)
    with pytest.raises(ConfigError, match=r"nothing without .*observation_dropped"):
        parsed(*hard, f"--config.{PREFIX}observation_dropped_steps=5")


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
    changed = {**needed(field.name), field.name: value}
    arguments = [f"--config.{PREFIX}{name}={is_}" for name, is_ in changed.items()]
    found = parsed("--challenge=none", *arguments).environment.challenges
    assert found == dataclasses.replace(Challenges(), **changed)
    assert found != Challenges()
    assert type(getattr(found, field.name)) is type(default)


def test_one_number_of_a_combined_challenge_can_be_changed():
    found = parsed("--challenge=hard", f"--config.{PREFIX}buffers=reset")
    hard = numbers.challenges("cartpole", "hard")
    expected = dataclasses.replace(hard, buffers="reset")
    assert found.environment.challenges == expected


def test_every_number_is_listed_by_help():
    listed = overrides.values(numbers.config())
    assert {PREFIX + field.name for field in FIELDS} <= set(listed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buffers": "rest"}, "buffers 'rest': did you mean reset?"),
        ({"perturbation_scheduler": "unifrom"}, "did you mean uniform?"),
        ({"action_delay": -1}, r"action_delay=-1: must be in \[0, 10000\]"),
        ({"observation_delay": -1}, "observation_delay=-1: must be in"),
        ({"reward_delay": 10_001}, "reward_delay=10001: must be in"),
        ({"dummy_dimensions": 10_001}, "dummy_dimensions=10001: must be in"),
        ({"dummy_dimensions": -5}, "dummy_dimensions=-5: must be in"),
        ({"action_noise": -0.1}, "action_noise=-0.1: must be a standard deviation"),
        (
            {"observation_noise": float("nan")},
            "observation_noise=nan: must be a standard",
        ),
        (
            {"observation_noise": float("inf")},
            "observation_noise=inf: must be a standard",
        ),
        (
            {"observation_dropped": 1.1},
            "observation_dropped=1.1: must be a probability",
        ),
        ({"observation_stuck": -0.1}, "observation_stuck=-0.1: must be a probability"),
        ({"action_dropped": 2.0}, "action_dropped=2.0: must be a probability"),
        ({"action_stuck": 2.0}, "action_stuck=2.0: must be a probability"),
        ({"action_repetition": 2.0}, "action_repetition=2.0: must be a probability"),
        ({"observation_dropped_steps": 0}, "dropped_steps=0: must be in"),
        ({"observation_stuck_steps": 0}, "stuck_steps=0: must be in"),
        ({"action_dropped_steps": 0}, "dropped_steps=0: must be in"),
        ({"action_stuck_steps": 0}, "stuck_steps=0: must be in"),
        ({"action_repetition_steps": 0}, "repetition_steps=0: must be in"),
        ({"perturbation_period": 0}, "perturbation_period=0: must be in"),
        (
            {"observation_dropped_steps": 10**19},
            r"dropped_steps=10000000000000000000: must be in \[1, 10000\]",
        ),
        ({"perturbation_start": 0.0}, "start=0.0: must be positive, or -1 for the"),
        ({"perturbation_minimum": -2.0}, "minimum=-2.0: must be positive, or -1"),
        ({"perturbation_maximum": float("inf")}, "maximum=inf: must be positive"),
        ({"perturbation_std": float("nan")}, "std=nan: must be positive, or -1"),
        ({"safety_coefficient": 1.5}, r"safety_coefficient=1.5: must be in \[0, 1\]"),
        (
            {"multi_objective_coefficient": -0.5},
            r"multi_objective_coefficient=-0.5: must be in \[0, 1\]",
        ),
        (
            {"multi_objective": True, "multi_objective_observed": True},
            "weighs the constraints: set safety=true as well",
        ),
        (
            {"multi_objective": True, "safety": True},
            "alone changes nothing: set .*_coefficient or .*_observed",
        ),
    ],
)
def test_a_challenge_that_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        Challenges(**changes)
    assert "\n" not in str(refusal.value)
    assert "environment.challenges." in str(refusal.value)


def test_a_combined_challenges_range_is_not_taken_for_another_parameter() -> None:
    other = ["--challenge=hard", f"--config.{PREFIX}perturbation=joint_damping"]
    said = "perturbation_minimum, perturbation_maximum would still be of pole_length"
    with pytest.raises(ConfigError, match=said):
        parsed(*other)
    minimum = f"--config.{PREFIX}perturbation_minimum=-1"
    with pytest.raises(ConfigError, match=r"damping: perturbation_maximum would still"):
        parsed(*other, minimum)
    same = f"--config.{PREFIX}perturbation_maximum=2.3"  # as hard has it
    found = parsed(*other, minimum, same)
    assert found.environment.challenges.perturbation_maximum == 2.3
    walk = f"--config.{PREFIX}perturbation_scheduler=random_walk"
    said = "_start, perturbation_minimum, perturbation_maximum, perturbation_std would"
    with pytest.raises(ConfigError, match=said):
        parsed(*other, walk)


def test_a_constant_that_is_the_models_own_is_refused() -> None:
    constant = [
        f"--config.{PREFIX}perturbation=pole_mass",
        f"--config.{PREFIX}perturbation_scheduler=constant",
    ]
    with pytest.raises(ConfigError, match=r"nothing without .*perturbation_start$"):
        parsed("--challenge=none", *constant)
    parsed("--challenge=none", *constant, f"--config.{PREFIX}perturbation_start=0.5")
    with pytest.raises(ConfigError, match=r"nothing without .*perturbation_start$"):
        parsed("--challenge=easy", constant[1])  # the row's start is the model's own
    parsed("--challenge=easy", constant[1], f"--config.{PREFIX}perturbation_start=0.9")


@pytest.mark.parametrize("number", [field.name for field in FIELDS])
def test_the_cure_for_a_number_that_is_no_challenge_is_taken(number: str) -> None:
    with pytest.raises(ConfigError, match=rf"^challenge {number}: is one") as refusal:
        parsed(f"--challenge={number}")
    values = {int: "2", float: "0.5", str: "reset"}
    names = {"perturbation": "pole_mass", "perturbation_scheduler": "random_walk"}
    _, cure = str(refusal.value).split(": write ")
    arguments = []
    for told in cure.split():
        flag, value = told.split("=")
        name = flag.split(".")[-1]
        default = getattr(Challenges(), name, None)
        filled = names.get(name) or values.get(type(default), "true")
        arguments.append(f"{flag}={filled}" if value == "<value>" else told)
    found = parsed(*arguments).environment.challenges
    assert getattr(found, number) != getattr(Challenges(), number)


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
        (["--challenge=safety"], f"--challenge=none --config.{PREFIX}safety=true"),
        (
            ["--challenge=perturbation_std"],
            f"none --config.{PREFIX}perturbation=<value>"
            f" --config.{PREFIX}perturbation_std=<value>"
            f" --config.{PREFIX}perturbation_scheduler=random_walk",
        ),
        (
            ["--challenge=action_repetition"],
            f"none --config.{PREFIX}action_repetition=<value>"
            f" --config.{PREFIX}action_repetition_steps=<value>",
        ),
        (
            [f"--config.{PREFIX}safety_action_change=true"],
            f"does nothing without {PREFIX}safety",
        ),
        (
            [f"--config.{PREFIX}multi_objective_coefficient=0.5"],
            f"does nothing without {PREFIX}multi_objective",
        ),
        (
            [f"--config.{PREFIX}safety=true", f"--config.{PREFIX}safety_observed=0"],
            "leave safety_observed or set multi_objective and multi_objective_coeff",
        ),
        (["--task=walker.wolk"], "unknown realworld task 'walker.wolk': did you"),
        (["--agent=stax"], "unknown agent 'stax': did you mean"),
        ([f"--config.{PREFIX}action_dely=3"], "action_dely': did you mean"),
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
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not place.exists()


def test_tasks_are_spelled_as_one_likes():
    found = parsed("--task=Humanoid-Walk", "--challenge=medium").environment
    assert found.task == "humanoid.walk"
    assert found.challenges == numbers.challenges("humanoid", "medium")
