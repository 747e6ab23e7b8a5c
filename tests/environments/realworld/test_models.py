"""Perturbed parameters: what they become in the compiled models, and how they move."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from stac import config
from stac.config.challenges import SCHEDULERS, Challenges
from stac.configs import realworld as numbers
from stac.environments import rendering
from stac.environments.realworld import models
from stac.environments.realworld import suite as realworld
from stac.environments.realworld.models import PARAMETERS
from tests.environments.realworld.twin import FACTS

TASK = {task.split(".")[0]: task for task in realworld.TASKS}
ALL = [(domain, name) for domain in PARAMETERS for name in PARAMETERS[domain]]
# Nominal values that are not the unperturbed model's: both friction edits also change
# the floor's, and the torso's edit hangs both of the walker's legs on one side.
DIFFERENT_START = {
    ("humanoid", "contact_friction"): {"geom_friction"},
    ("quadruped", "contact_friction"): {"geom_friction"},
    ("walker", "torso_length"): {"body_pos"},
}
# What only the picture knows; names and buffer sizes go with it.
PICTURE = ("tex", "mat_texid", "name", "nname", "nbuffer", "ntex", "signature")


@functools.cache
def physics(domain: str, name: str = "", value: float | None = None) -> Any:
    rendering.suite(renders=False)
    from stac.environments.realworld import tasks

    return tasks.Maker(TASK[domain], Challenges(perturbation=name), 0)(value).physics


def numbers_of(compiled: Any) -> dict[str, Any]:
    """Every number of a model that is not a picture's."""
    model = compiled.model._model
    fields = {
        name: getattr(model, name)
        for name in dir(model)
        if not name.startswith(("_", *PICTURE))
    }
    kinds = (np.ndarray, int, float)
    return {name: value for name, value in fields.items() if isinstance(value, kinds)}


def changed(one: Any, other: Any) -> set[str]:
    ours, theirs = numbers_of(one), numbers_of(other)
    assert len(ours) > 100
    assert list(ours) == list(theirs)
    return {name for name in ours if not np.array_equal(ours[name], theirs[name])}


@pytest.mark.parametrize("domain", PARAMETERS)
def test_without_textures_the_model_is_dm_controls_to_the_last_bit(domain):
    suite = rendering.suite(renders=False)
    theirs = suite.load(*TASK[domain].split(".")).physics
    assert changed(physics(domain), theirs) == set()
    assert physics(domain).model.ntex == 0 < theirs.model.ntex


@pytest.mark.parametrize(("domain", "name"), ALL)
def test_at_its_start_a_parameter_is_the_unperturbed_models(domain, name):
    start = PARAMETERS[domain][name].start
    found = changed(physics(domain, name, start), physics(domain))
    expected = DIFFERENT_START.get((domain, name), set())
    assert expected <= found
    # Moving a body moves what is computed from it: inertias and statistics.
    assert found == expected or name == "torso_length"


@pytest.mark.parametrize(("domain", "name"), ALL)
def test_ranges_are_the_suites_and_their_ends_compile(domain, name):
    own = PARAMETERS[domain][name]
    known = FACTS["perturbation_parameters_all"][domain][name]
    found = {"start": own.start, "min": own.minimum, "max": own.maximum, "std": own.std}
    assert found == known
    ends = [physics(domain, name, value) for value in (own.minimum, own.maximum)]
    assert changed(*ends)
    for end in ends:
        end.step()
        assert np.isfinite(end.data.qpos).all()


def test_all_parameters_of_the_suite_are_there():
    found = {domain: list(rows) for domain, rows in PARAMETERS.items()}
    known = FACTS["perturbation_parameters_all"]
    assert {d: sorted(rows) for d, rows in found.items()} == {
        domain: sorted(rows) for domain, rows in known.items()
    }


@pytest.mark.parametrize("length", [0.5, 2.3])
def test_a_poles_mass_grows_with_its_length(length):
    model = physics("cartpole", "pole_length", length).named.model
    assert model.geom_size["pole_1"][:2].tolist() == [0.045, length / 2]
    assert model.geom_pos["pole_1"].tolist() == [0.0, 0.0, length / 2]
    assert model.body_mass["pole_1"] == pytest.approx(length / 10)


def test_the_cartpoles_other_parameters_are_one_number_each():
    stock = physics("cartpole")
    heavy = physics("cartpole", "pole_mass", 3.0)
    assert heavy.named.model.body_mass["pole_1"] == 3.0
    assert heavy.named.model.geom_size["pole_1"][1] == 0.5
    for name, joint in (("joint_damping", "hinge_1"), ("slider_damping", "slider")):
        damped = physics("cartpole", name, 0.15)
        assert changed(damped, stock) == {"dof_damping"}
        assert damped.named.model.dof_damping[joint] == 0.15
        assert (damped.model.dof_damping != stock.model.dof_damping).sum() == 1


@pytest.mark.parametrize("length", [0.225, 0.55])
def test_a_walkers_legs_hang_at_the_ends_of_its_thighs(length):
    perturbed, unperturbed = (
        physics("walker", "thigh_length", length),
        physics("walker"),
    )
    model, stock = perturbed.named.model, unperturbed.named.model
    for side in ("left", "right"):
        assert model.geom_size[f"{side}_thigh"][:2].tolist() == [0.05, length]
        assert model.geom_pos[f"{side}_thigh"].tolist() == [0.0, 0.0, -length]
        leg = model.body_pos[f"{side}_leg"].tolist()
        assert leg == pytest.approx([0.0, 0.0, -0.25 - 2 * length])
        mass = model.body_mass[f"{side}_thigh"] / stock.body_mass[f"{side}_thigh"]
        # A capsule's volume: a cylinder and two half balls.
        assert mass == pytest.approx((length + 0.1 / 3) / (0.225 + 0.1 / 3))


def test_a_walkers_torso_takes_both_legs_to_one_side():
    model = physics("walker", "torso_length", 0.5).named.model
    assert model.geom_size["torso"][:2].tolist() == [0.07, 0.5]
    for side in ("left", "right"):
        assert model.body_pos[f"{side}_thigh"].tolist() == [0.0, -0.05, -0.5]


def test_a_walkers_damping_and_friction_are_everywhere_but_at_the_root():
    damped, stock = physics("walker", "joint_damping", 7.0), physics("walker")
    assert changed(damped, stock) == {"dof_damping"}
    assert damped.model.dof_damping.tolist() == [0.0] * 3 + [7.0] * 6
    slippery = physics("walker", "contact_friction", 0.2)
    assert changed(slippery, stock) == {"geom_friction"}
    assert (slippery.model.geom_friction == [0.2, 0.1, 0.1]).all()


@pytest.mark.parametrize("length", [0.25, 1.4])
def test_a_quadrupeds_feet_begin_where_its_shins_end(length):
    model = physics("quadruped", "shin_length", length).named.model
    for leg in ("front_left", "front_right", "back_right", "back_left"):
        half = model.geom_size[f"shin_{leg}"][1]
        assert half == pytest.approx(length / 2**0.5)
        middle = model.geom_pos[f"shin_{leg}"].tolist()
        assert middle == pytest.approx([length / 2, 0.0, -length / 2])
        assert model.body_pos[f"ankle_{leg}"].tolist() == [length, 0.0, -length]
        assert model.geom_size[f"foot_{leg}"][1] == 0.125  # as it was


def test_a_quadrupeds_other_parameters():
    stock = physics("quadruped")
    dense = physics("quadruped", "torso_density", 3000.0).named.model
    ellipsoid = 4 / 3 * np.pi * 0.3 * 0.27 * 0.2
    mass = dense.body_mass["torso"] - stock.named.model.body_mass["torso"]
    assert mass == pytest.approx(2000.0 * ellipsoid)
    damped = physics("quadruped", "joint_damping", 100.0)
    assert changed(damped, stock) == {"dof_damping"}
    assert damped.model.dof_damping.tolist() == [0.0] * 6 + [100.0] * 16
    slippery = physics("quadruped", "contact_friction", 0.4)
    assert changed(slippery, stock) == {"geom_friction"}
    frictions = slippery.named.model.geom_friction
    assert frictions["toe_back_left"].tolist() == [0.4, 0.005, 0.0001]
    assert frictions["floor"].tolist() == [0.4, 0.1, 0.1]
    assert frictions["torso"].tolist() == [1.0, 0.005, 0.0001]


def test_a_humanoids_parameters():
    stock = physics("humanoid")
    slippery = physics("humanoid", "contact_friction", 0.4)
    assert changed(slippery, stock) == {"geom_friction"}
    assert (slippery.model.geom_friction == [0.4, 0.1, 0.1]).all()
    assert stock.named.model.geom_friction["floor"][0] == 1.0  # wins over the body's
    damped = physics("humanoid", "joint_damping", 2.0)
    assert changed(damped, stock) == {"dof_damping"}
    names = [
        joint
        for joint in stock.named.model.jnt_type.axes.row.names
        if joint != "root" and damped.named.model.dof_damping[joint] == 2.0
    ]
    assert len(names) == 12  # the others are big joints, which keep their 5
    assert "left_knee" in names
    assert damped.named.model.dof_damping["abdomen_x"] == 5.0
    head = physics("humanoid", "head_size", 0.15).named.model
    assert head.geom_size["head"][0] == 0.15
    ratio = head.body_mass["head"] / stock.named.model.body_mass["head"]
    assert ratio == pytest.approx((0.15 / 0.09) ** 3)


def test_an_edit_can_be_repeated_on_the_same_model():
    rendering.suite(renders=False)
    from stac.environments.realworld import tasks

    make = tasks.Maker(TASK["walker"], Challenges(perturbation="thigh_length"), 0)
    make(0.5)
    fresh = physics("walker", "thigh_length", 0.3)
    assert changed(make(0.3).physics, fresh) == set()


class Scripted:
    """A generator whose changes are given, and whose uniform draws are the middle."""

    def __init__(self, changes: list[float]) -> None:
        self.changes = list(changes)

    def normal(self, scale: float) -> float:
        return scale * self.changes.pop(0)

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


WITHIN = models.Range(start=1.0, minimum=0.5, maximum=2.0, std=0.1)


@pytest.mark.parametrize(
    ("scheduler", "changes", "values"),
    [
        ("constant", [3, -3, 3], [1.0, 1.0, 1.0]),
        ("random_walk", [3, -2, -9, 1], [1.3, 1.1, 0.5, 0.6]),
        ("drift_pos", [3, -2, 9, -1], [1.3, 1.5, 2.0, 2.0]),
        ("drift_neg", [3, -1, 9, -1], [0.7, 0.6, 0.5, 0.5]),
        ("cyclic_pos", [6, -7, 5], [1.6, 1.0, 1.5]),  # back to the start, not the least
        ("cyclic_neg", [-3, 3, 1], [0.7, 1.0, 0.9]),
        ("uniform", [3, -3], [1.25, 1.25]),
        # The draw itself, not a move by it: within the range the sign stays; beyond it
        # the sign turns, and below the least it turns at every call.
        ("saw_wave", [6, -7, 25, 6, 6, 30], [0.6, 0.7, 2.0, 0.5, 0.6, 2.0]),
    ],
)
def test_each_scheduler_moves_by_its_rule(scheduler, changes, values):
    schedule = models.Schedule(scheduler, WITHIN, Scripted(changes))
    assert [schedule.next() for _ in changes] == pytest.approx(values)


def test_every_scheduler_has_its_rule_and_stays_in_the_range():
    assert set(models.RULES) == set(SCHEDULERS)
    for scheduler in SCHEDULERS:
        random = np.random.default_rng(0)
        schedule = models.Schedule(scheduler, WITHIN._replace(std=0.6), random)
        values = [schedule.next() for _ in range(500)]
        assert min(values) >= WITHIN.minimum
        assert max(values) <= WITHIN.maximum
        assert (len(set(values)) > 1) == (scheduler != "constant")


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
@pytest.mark.parametrize("domain", PARAMETERS)
def test_combined_challenges_draw_from_all_of_their_range(domain, level):
    chosen = numbers.challenges(domain, level)
    schedule = models.schedule(domain, chosen, np.random.default_rng(0))
    values = [schedule.next() for _ in range(400)]
    known = FACTS["combined_perturbation_per_domain"][domain][level]
    width = known["max"] - known["min"]
    assert known["min"] <= min(values) < known["min"] + 0.02 * width
    assert known["max"] - 0.02 * width < max(values) <= known["max"]
    assert np.mean(values) == pytest.approx(known["min"] + width / 2, abs=0.05 * width)


def test_numbers_that_are_not_given_are_the_parameters_own():
    asked = functools.partial(Challenges, perturbation="pole_mass")
    random = np.random.default_rng(0)
    own = models.schedule("cartpole", asked(), random).within
    assert own == (0.1, 0.1, 10.0, 0.5)
    some = models.schedule("cartpole", asked(perturbation_maximum=2.0), random)
    assert some.within == (0.1, 0.1, 2.0, 0.5)


def test_a_parameter_of_another_domain_or_an_empty_range_is_refused():
    random = np.random.default_rng(0)
    with pytest.raises(config.ConfigError, match="walker 'pole_length': choose one of"):
        models.schedule("walker", Challenges(perturbation="pole_length"), random)
    empty = Challenges(perturbation="pole_length", perturbation_minimum=3.5)
    with pytest.raises(config.ConfigError, match=r"3\.5 is above the maximum 3\.0"):
        models.schedule("cartpole", empty, random)


def test_an_edit_that_finds_nothing_says_so():
    model = models.parse("<mujoco><worldbody/></mujoco>")
    with pytest.raises(ValueError, match="the model has no"):
        PARAMETERS["humanoid"]["head_size"].edit(model, 0.1)
