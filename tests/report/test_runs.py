"""Which runs are read, how they are labelled, and their table of curves."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stac.config import Config
from stac.configs import realworld
from stac.report import comparisons, runs, scores, tables
from stac.report.runs import Run

TASK = "cartpole.balance"
# (frames, return): stopped at a million, killed and continued from half a million.
ROWS = [
    *((200_000, None), (500_000, 100.0), (1_000_000, 300.0)),
    *((600_000, None), (1_000_000, 500.0), (1_950_000, 800.0), (2_000_000, 1000.0)),
]
EASY = {
    f"environment.challenges.{name}": value
    for name, value in vars(realworld.challenges("cartpole", "easy")).items()
}


def run(
    place: pathlib.Path,
    agent: str = "stac",
    seed: int = 1,
    rows: Any = tuple(ROWS),
    **changes: Any,
) -> None:
    """Writes a run's config.json and metrics.jsonl."""
    config = dataclasses.asdict(Config())
    named = {"agent.name": agent, "seed": seed, "environment.domain": "control"}
    for name, value in (named | {"environment.task": TASK} | changes).items():
        *parents, leaf = name.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(config))
    lines = [json.dumps({"frames": at, "episode_return": r}) for at, r in rows]
    (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def names(found: list[Run]) -> list[tuple[str, str, int]]:
    return sorted((run.task, run.label, run.seed) for run in found)


def test_of_a_run_that_was_killed_and_continued_the_last_course_counts(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "x")
    (curve,) = runs.read([tmp_path]).runs
    np.testing.assert_allclose(curve.frames, [0.2, 0.5, 0.6, 1.0, 1.95, 2.0])
    np.testing.assert_array_equal(curve.returns, [np.nan, 100, np.nan, 500, 800, 1000])
    # from 1.90 to 1.95M on average 792.1, from there to the end 900
    assert scores.final(curve) == pytest.approx(846.05, abs=1)
    # 100 for 0.5M, on average 300 for 0.5M, 650 for 0.95M, 900 for 0.05M
    assert scores.whole(curve) == pytest.approx(431.25, abs=1)


def test_agent_and_seed_are_the_configurations_whatever_a_folder_is_called(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "deep" / "er" / "stacx_kl0.1_s1", "impala_aux", 12)
    run(tmp_path / "notes", "impala", 3)
    run(tmp_path / "begun", rows=ROWS[:1])
    run(tmp_path / "torn")
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"fram')
    run(tmp_path / "bare")
    (tmp_path / "bare" / "config.json").unlink()
    run(tmp_path / "damaged")
    (tmp_path / "damaged" / "config.json").write_text("{")
    run(tmp_path / "fresh")
    (tmp_path / "fresh" / "metrics.jsonl").unlink()
    run(tmp_path / "nan", rows=[(1, float("nan")), (2, float("inf"))])
    run(tmp_path / "odd")
    (tmp_path / "odd" / "metrics.jsonl").unlink()
    (tmp_path / "odd" / "metrics.jsonl").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    found, left_out = runs.read([tmp_path, tmp_path / "nowhere"])
    assert names(found) == [(TASK, "impala", 3), (TASK, "impala_aux", 12)]
    damaged = "its config.json is missing, damaged, or of another version"
    cure = "name a run's workdir, a folder of workdirs, or a table (.csv)"
    assert sorted(left_out) == [
        f"{tmp_path}/bare: {damaged}",
        f"{tmp_path}/begun: it has ended no episode yet",
        f"{tmp_path}/damaged: {damaged}",
        f"{tmp_path}/fresh: nothing is logged there yet",
        f"{tmp_path}/nan: it has ended no episode yet",
        f"{tmp_path}/nowhere: there is no such folder: {cure}",
        f"{tmp_path}/odd/metrics.jsonl: Is a directory",
        f"{tmp_path}/other: {damaged}",
        f"{tmp_path}/torn: nothing is logged there yet",
    ]


def test_runs_are_labelled_by_how_their_configurations_differ(
    tmp_path: pathlib.Path,
) -> None:
    for seed in (1, 2):
        run(tmp_path / f"a{seed}", "stacx", seed)
        run(tmp_path / f"b{seed}", "stacx", seed, **{"agent.outer.g_kl": 0.1})
    run(tmp_path / "c", "impala", **{"batch.batch_size": 7, "runtime.num_actors": 5})
    run(tmp_path / "d", "impala", 2, **{"batch.batch_size": 7})
    run(tmp_path / "e", "stac", **{"agent.outer.lambda_": 0.9})
    run(tmp_path / "f", "stac")
    labels = {
        "stacx, agent.outer.g_kl=1.0": [1, 2],
        "stacx, agent.outer.g_kl=0.1": [1, 2],
        "impala": [1, 2],
        "stac, agent.outer.lambda=0.9": [1],
        "stac, agent.outer.lambda=1.0": [1],
    }
    expected = [
        (TASK, label, seed) for label, seeds in labels.items() for seed in seeds
    ]
    assert names(runs.read([tmp_path]).runs) == sorted(expected)


def test_a_run_from_before_an_option_or_with_one_that_is_gone_is_the_same_agent(
    tmp_path: pathlib.Path,
) -> None:
    for seed in (1, 2, 3):
        run(tmp_path / f"{seed}", "impala", seed)
    older = tmp_path / "1" / "config.json"
    config = json.loads(older.read_text())
    del config["agent"]["bootstrap"], config["agent"]["soft"]
    config["agent"]["gone"] = 5
    older.write_text(json.dumps(config))
    run(tmp_path / "other", "impala", 4, **{"agent.bootstrap": "mixed"})
    found = runs.read([tmp_path]).runs
    assert [options for options, _ in comparisons._apart(found)] == [
        ("agent.bootstrap",)
    ]
    assert names(found) == [
        (TASK, "impala, agent.bootstrap=mixed", 4),
        *((TASK, "impala, agent.bootstrap=target", seed) for seed in (1, 2, 3)),
    ]


@pytest.mark.parametrize("total", [4_100_000, 2_009_600])
def test_a_run_that_ends_on_its_last_frame_is_finished(
    total: int, tmp_path: pathlib.Path
) -> None:
    rows = [(total - 10, 1.0), (total, 2.0)]
    run(tmp_path / "x", rows=rows, total_frames=total)
    run(tmp_path / "y", seed=2, rows=rows[:1], total_frames=total)
    assert [run.unfinished for run in runs.read([tmp_path]).runs] == [False, True]


def test_runs_of_one_seed_are_labelled_by_enough_of_their_path_and_all_drawn(
    tmp_path: pathlib.Path,
) -> None:
    for place in ("a/stacx_seed1", "b/stacx_seed1"):
        run(tmp_path / place, "stacx")
    run(tmp_path / "b/stacx_seed2", "stacx", 2)
    run(tmp_path / "c/x/first", "stac")
    run(tmp_path / "c/x/again", "stac")
    places = [
        tmp_path / "a/stacx_seed1",
        tmp_path / "b",
        tmp_path / "b",
        tmp_path / "c",
    ]
    found = runs.read(places).runs
    assert names(found) == [
        (TASK, "stac (again)", 1),
        (TASK, "stac (first)", 1),
        (TASK, "stacx (a)", 1),
        (TASK, "stacx (b)", 1),
        (TASK, "stacx (b)", 2),
    ]


def test_a_damaged_row_is_skipped_and_the_others_are_drawn(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "x", rows=[(1e6, 1.0), (2e6, 2.0)])
    metrics = tmp_path / "x" / "metrics.jsonl"
    rows = [
        *("{}", '{"frames": "many"}', '{"frames": -1}', '{"frames": NaN}', "[1]", "{"),
        f'{{"frames": 1{"0" * 400}}}',
        '{"frames": 3e6, "episode_return": "high"}',
        '{"frames": 4e6, "episode_return": 4.0}',
    ]
    metrics.write_text(metrics.read_text() + "\n".join(rows) + "\n")
    (curve,) = runs.read([tmp_path]).runs
    np.testing.assert_array_equal(curve.frames, [1, 2, 3, 4])
    np.testing.assert_array_equal(curve.returns, [1, 2, np.nan, 4])


def test_a_tasks_name_tells_settings_apart_and_references_are_for_the_usual_one(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "a")
    pixels = {"environment.observations": "pixels", "network.torso": "residual_strided"}
    run(tmp_path / "b", **pixels)
    domain = {"environment.domain": "realworld"}
    run(tmp_path / "c", **domain, **EASY)
    run(
        tmp_path / "easy",
        **domain,
        **{**EASY, "environment.challenges.action_delay": 9},
    )
    run(tmp_path / "d", **{"environment.domain": "atari", "environment.task": "pong"})
    small = {"environment.domain": "catch", "environment.task": "pixels"}
    run(tmp_path / "e", **small)
    features = {"environment.task": "features", "network.torso": "mlp"}
    run(tmp_path / "e2", **{**small, **features})
    game = {"environment.domain": "minatar", "environment.task": "breakout"}
    run(tmp_path / "f", **game)
    found = sorted(runs.read([tmp_path]).runs)
    tasks = [run.task for run in found]
    assert tasks == [
        "breakout, minatar",
        *(TASK, f"{TASK}, pixels", f"{TASK}, realworld changed"),
        *(f"{TASK}, realworld easy", "catch, features", "catch, pixels", "pong"),
    ]
    labels = {run.label for run in found if run.task.startswith(TASK)}
    assert labels == {"stac"}  # though pixels have another torso
    assert {run.label for run in found} == {"stac"}
    run(tmp_path / "g", **{"network.torso": "shallow"}, **domain, seed=2)
    labels = {run.label for run in runs.read([tmp_path]).runs}
    assert "stac, network.torso=shallow" in labels
    columns = [{*scores.published(task)} for task in tasks]
    assert [*map(bool, columns)] == [False, True, *[False] * 5, True]
    assert {"trivial", "a3c_100M"} < columns[1]
    assert {"random", "human", "stacx_discorl"} < columns[-1]


def test_the_table_of_a_curve_is_thinned_by_frames_not_by_rows(
    tmp_path: pathlib.Path,
) -> None:
    slow = [(10_000 + step, 1.0) for step in range(1000)]  # many rows, few frames
    run(tmp_path / "x", rows=[*slow, *((at * 10_000, 2.0) for at in range(2, 301))])
    tables.write(runs.read([tmp_path]).runs, tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()[1:]
    assert len(lines) == tables.POINTS
    assert sum(line.split(",")[4] == "1" for line in lines) == 1


def test_a_table_keeps_the_course_of_what_is_self_tuned(tmp_path: pathlib.Path) -> None:
    frames, returns = np.array([0.5, 1.0, 2.0]), np.array([np.nan, 3.0, 4.0])
    course = {"gamma/head_1": np.array([0.9, np.nan, 0.95])}
    tuned = Run(TASK, "stacx", 1, frames, returns, course)
    tables.write([tuned, Run(TASK, "impala", 1, frames, returns)], tmp_path / "x.csv")
    stacx, impala = tables.read(tmp_path / "x.csv")
    np.testing.assert_array_equal(stacx.metaparameters["gamma/head_1"], [np.nan, 0.95])
    np.testing.assert_array_equal(stacx.returns, [3.0, 4.0])
    assert not impala.metaparameters


def test_a_label_means_the_same_on_every_task(tmp_path: pathlib.Path) -> None:
    for seed in (1, 2):
        for task in ("walker.walk", "walker.run"):
            changes = {"environment.task": task}
            run(tmp_path / f"{task}{seed}", "stacx", seed, **changes)
    changes = {"environment.task": "walker.run", "agent.outer.gamma": 0.5}
    run(tmp_path / "stray", "stacx", 3, **changes)
    labels = {(x.task, x.label) for x in runs.read([tmp_path]).runs}
    assert {label for _, label in labels} == {
        "stacx, agent.outer.gamma=0.995",
        "stacx, agent.outer.gamma=0.5",
    }
    assert len(labels) == 3


def test_what_tasks_set_differently_makes_no_agents(tmp_path: pathlib.Path) -> None:
    for task, total, alpha in (("Hopper-v4", 10**6, 0.2), ("Humanoid-v4", 10**7, 0.05)):
        own = {"total_frames": total, "agent.soft.alpha": alpha}
        run(tmp_path / task, "sac_v1", **own, **{"environment.task": task})
    assert {x.label for x in runs.read([tmp_path]).runs} == {"sac_v1"}
