"""Pictures of the Control Suite, and where they come from: OpenGL without a display."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from stac import config
from stac.environments import base, control, make, rendering
from tests.conftest import ROOT
from tests.environments import snapshotting
from tests.environments.vector import scripted
from tests.waiting import until

draws = pytest.mark.usefixtures("opengl")


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skips what needs pictures where none can be drawn."""
    try:
        rendering.backend()
    except config.ConfigError as error:
        pytest.skip(str(error))


def built(task: str, num_envs: int = 2, way: str = "serial", seed: int = 0):
    chosen = config.EnvironmentConfig(
        domain="control", task=task, observations="pixels", workers=way, threads=2
    )
    return make.factory(config.Config(environment=chosen))(seed, num_envs)


def pictures(environment: base.BatchedEnvironment, steps: int) -> np.ndarray:
    """uint8 [steps + 1, E, 3, 84, 84] under the largest actions."""
    rows = [environment.reset()]
    action = np.full((environment.num_envs, environment.spec.num_actions), 9.0)
    rows += [environment.step(action) for _ in range(steps)]
    environment.close()
    return np.stack([row.observation for row in rows])


@draws
def test_pictures_are_84_by_84_rgb_and_show_what_moves():
    environment = built("walker.walk")
    assert environment.spec.observation_shape == (3, 84, 84)
    assert environment.spec.observation_dtype == np.uint8
    shown = pictures(environment, 5)
    assert (shown.dtype, shown.shape) == (np.uint8, (6, 2, 3, 84, 84))
    assert shown.std() > 10
    assert (shown[0, 0] != shown[0, 1]).any()  # two environments
    assert (shown[0, 0] != shown[5, 0]).any()  # five steps


@draws
def test_the_sky_is_up_and_red_is_the_first_channel():
    suite = rendering.suite(renders=True)
    physics = suite.load("cartpole", "balance", {"random": 0}).physics
    with physics.reset_context():
        physics.named.data.qpos["hinge_1"] = 0.0  # the pole stands upright
    shown = physics.render(control.SIZE, control.SIZE, camera_id=0).astype(int)
    # The body is orange, everything else is blue: the pole rises above the cart.
    red = np.nonzero((shown[..., 0] > shown[..., 2] + 30).any(axis=1))[0]
    cart = np.argmax((shown[..., 0] > shown[..., 2] + 30).sum(axis=1))
    assert len(red) > 10
    assert red.min() < cart - 10
    assert red.max() - cart < 10
    seen = pictures(built("cartpole.balance", 1), 0)[0, 0].astype(int)
    red = np.nonzero((seen[0] > seen[2] + 30).any(axis=1))[0]
    widest = np.argmax((seen[0] > seen[2] + 30).sum(axis=1))
    assert red.min() < widest - 10


@draws
def test_a_picture_is_of_the_observation_it_stands_for():
    alone = control.environment("cartpole.swingup", "pixels", 4)
    shown = alone.reset().observation["pixels"]
    drawn = alone._environment.physics.render(84, 84, camera_id=0)
    np.testing.assert_array_equal(shown, drawn)
    later = alone.step(np.ones(1)).observation["pixels"]
    alone.close()
    assert later.shape == (84, 84, 3)
    assert (later != shown).any()


@draws
def test_the_quadruped_is_seen_by_the_camera_that_follows_it():
    alone = control.environment("quadruped.walk", "pixels", 0)
    shown = alone.reset().observation["pixels"].astype(int)
    alone.close()
    orange = shown[..., 0] > shown[..., 2] + 30
    assert orange.sum() > 150  # camera 0 shows a dozen such pixels


@draws
@pytest.mark.parametrize(
    ("task", "way"), [("cheetah.run", "processes"), ("quadruped.escape", "serial")]
)
def test_pictures_go_on_from_a_snapshot(task, way):
    here, there = (functools.partial(built, task, 1, one) for one in (way, "serial"))
    snapshotting.assert_exact(here, 4, [2], there)


def alone(script: str, folder: pathlib.Path, **variables: str) -> str:
    """Runs a script that prints no error and leaves no file; returns its output."""
    unset = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    unset |= variables
    run = subprocess.run(
        [sys.executable, *scripted.WARNINGS, "-c", script],
        cwd=folder,
        env={**unset, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return run.stdout.strip()


_DRAWS = """
import os
from stac.environments import control
control.environment("walker.walk", "features", 0).reset()
assert not os.environ.get("MUJOCO_GL")
for name in control.NEEDS_OPENGL:  # they draw their terrain
    names = control.environment(name, "features", 0).reset().observation
    assert "egocentric_state" in names and "pixels" not in names, name
made = control.environment("cheetah.run", "pixels", 0)
assert made.reset().observation["pixels"].std() > 5
made.close()
print(os.environ["MUJOCO_GL"])
"""


@draws
def test_without_a_display_a_backend_is_chosen_without_a_word(tmp_path):
    assert alone(_DRAWS, tmp_path) in rendering.BACKENDS


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "x")  # so that it is put back as it was
    monkeypatch.delenv("MUJOCO_GL")


@pytest.mark.parametrize("empty", [False, True])
def test_the_first_backend_that_works_is_taken_where_none_is_named(
    unset, monkeypatch, empty
):
    if empty:
        monkeypatch.setenv("MUJOCO_GL", "")
    tried = []
    monkeypatch.setattr(
        rendering, "works", lambda name: tried.append(name) or name == "osmesa"
    )
    assert rendering.backend() == "osmesa"
    assert tried == ["egl", "osmesa"]


def test_where_nothing_renders_the_packages_are_named(unset, monkeypatch):
    monkeypatch.setattr(rendering, "works", lambda name: False)
    with pytest.raises(config.ConfigError) as refused:
        rendering.backend()
    for word in ("libegl1", "libgl1-mesa-dri", "libosmesa6", "MUJOCO_GL"):
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_backend_that_was_asked_for_is_taken_or_refused(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setattr(rendering, "works", lambda name: name == "glfw")
    assert rendering.backend() == "glfw"
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(config.ConfigError, match="MUJOCO_GL=egl does not work here"):
        rendering.backend()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends it with its parent")
def test_a_trial_that_hangs_ends_with_the_process_that_began_it(tmp_path):
    file = tmp_path / "pid"
    program = f"""
from stac.environments import rendering
before = rendering._TRIAL.partition("from dm_control")[0]
rendering._TRIAL = before + "import os, time; open({str(file)!r}, 'w').write("
rendering._TRIAL += "str(os.getpid())); time.sleep(60)"
rendering.works("egl")
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        until(lambda: (file.exists() and file.read_text()) or process.poll(), 30)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    stat = pathlib.Path("/proc", file.read_text(), "stat")
    until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", 30)


@draws
def test_a_backend_that_fails_does_no_harm():
    assert not rendering.works("no such backend")
    assert pictures(built("pendulum.swingup", 1), 0).std() > 5
