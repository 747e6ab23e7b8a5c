"""Which games Atari knows, with how many actions, and that it is silent."""

from __future__ import annotations

import pytest

from stac import config
from stac.environments import atari
from tests.programs import python

ATARI57 = """
alien amidar assault asterix asteroids atlantis bank_heist battle_zone beam_rider
berzerk bowling boxing breakout centipede chopper_command crazy_climber defender
demon_attack double_dunk enduro fishing_derby freeway frostbite gopher gravitar hero
ice_hockey jamesbond kangaroo krull kung_fu_master montezuma_revenge ms_pacman
name_this_game phoenix pitfall pong private_eye qbert riverraid road_runner robotank
seaquest skiing solaris space_invaders star_gunner surround tennis time_pilot
tutankham up_n_down venture video_pinball wizard_of_wor yars_revenge zaxxon
""".split()


def test_the_57_games_of_the_benchmark_resolve_in_every_spelling():
    assert len(ATARI57) == 57
    for game in ATARI57:
        camel = game.title().replace("_", "")
        for spelling in (
            game,
            camel,
            camel.lower(),
            f"ALE/{camel}-v5",
            f"{camel}NoFrameskip-v4",
            f"{camel}Deterministic-v0",
        ):
            assert atari.rom_id(spelling) == game


@pytest.mark.parametrize(
    "name", ["james_bond", "jamesbond", "Jamesbond", "James Bond", "ALE/Jamesbond-v5"]
)
def test_james_bond_is_known_by_the_paper_s_name(name):
    assert atari.rom_id(name) == "jamesbond"


@pytest.mark.parametrize(
    ("name", "near"),
    [("brakeout", "breakout"), ("ALE/Pongg-v5", "pong"), ("montezuma", "montezuma_re")],
)
def test_an_unknown_game_is_refused_with_the_nearest_names_in_one_line(name, near):
    with pytest.raises(config.ConfigError, match=f"did you mean.* {near}") as error:
        atari.Atari(name, seed=0, num_envs=1)
    assert "\n" not in str(error.value)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(config.ConfigError, match=r"protocol 'machodo'.*machado"):
        atari.Atari("pong", seed=0, num_envs=1, protocol="machodo")


@pytest.mark.parametrize(
    ("game", "minimal", "full"),
    [("breakout", 4, 18), ("pong", 6, 18), ("james_bond", 18, 18), ("skiing", 3, 9)],
)
def test_the_protocol_chooses_the_actions(game, minimal, full):
    for protocol, count in (("impala", minimal), ("machado", full)):
        environment = atari.Atari(game, seed=0, num_envs=1, protocol=protocol)
        assert environment.spec.num_actions == count
        environment.close()


def test_nothing_is_printed_to_the_terminal():
    script = """
import numpy as np
from stac.environments import atari
environment = atari.Atari("breakout", seed=0, num_envs=2)
environment.reset()
environment.step(np.zeros(2, int))
environment.close()
"""
    done = python("-W", "default", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
