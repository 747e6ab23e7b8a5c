"""What the nodes add to the runtime: how a process ends, and parameters by Courier."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent import futures
from typing import Any

import pytest

from stac.config import Config
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed
from tests import conftest
from tests.runtime import experiences

pytestmark = pytest.mark.launchpad


class FakeLearner:
    """A Courier client whose answers the test gives."""

    def __init__(self) -> None:
        self.futures = self
        self.known: list[int] = []
        self._answers: list[futures.Future[Any]] = []
        self._nothing_yet = False

    def get_parameters(
        self, actor: int, restarts: int, known: int, times: tuple[float, float]
    ) -> futures.Future[Any]:
        self.known.append(known)
        if self._nothing_yet:
            self.will_answer(None)
        return self._answers.pop(0) if self._answers else futures.Future()

    def has_nothing_yet(self) -> None:
        """Answers so for ever."""
        self._nothing_yet = True

    def will_answer(self, *answers: Any) -> None:
        for answer in answers:
            future: futures.Future[Any] = futures.Future()
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
            self._answers.append(future)


class Asking:
    """A learner, who asks it, and what stops them."""

    def __init__(self) -> None:
        from stac.launch.launchpad import nodes

        self.learner, self.stop = FakeLearner(), Stop()
        self.parameters = nodes.LearnersParameters(
            self.learner, 0, 0, self.stop, Heartbeat()
        )


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_an_actor_asks_once_and_gets_the_newest(asking):
    asking.learner.will_answer((7, {"b": 1, "w": 2}), (9, {"b": 3, "w": 4}))
    assert asking.parameters.latest() == (7, {"b": 1, "w": 2})
    assert asking.parameters.latest() == (9, {"b": 3, "w": 4})
    assert asking.learner.known == [-1, 7]


def test_an_actor_keeps_what_it_has_where_there_is_nothing_newer(asking):
    asking.learner.will_answer((7, {"b": 1}), None)
    assert asking.parameters.latest() is asking.parameters.latest()


def test_an_actor_waits_for_the_first_parameters(asking):
    asking.learner.will_answer(None, None, (0, {"b": 1, "w": 2}))
    assert asking.parameters.latest() == (0, {"b": 1, "w": 2})
    assert asking.learner.known == [-1, -1, -1]


@pytest.mark.faults
@pytest.mark.parametrize("silent", [True, False], ids=["silent", "nothing yet"])
def test_an_actor_that_waits_for_the_learner_is_woken_by_the_end(asking, silent):
    if not silent:
        asking.learner.has_nothing_yet()
    waiting = experiences.Doing(asking.parameters.latest)
    assert waiting.waits()
    asking.stop.set()
    with pytest.raises(Closed):
        waiting.result()


@pytest.mark.faults
def test_a_learner_that_ends_with_the_run_is_no_failure(asking):
    asking.learner.will_answer(RuntimeError("unavailable"))
    waiting = experiences.Doing(asking.parameters.latest)
    assert waiting.waits()
    asking.stop.set()
    with pytest.raises(Closed):
        waiting.result()


@pytest.mark.faults
def test_a_learner_that_fails_is_a_failure(asking):
    asking.learner.will_answer(RuntimeError("the learner's own"))
    with pytest.raises(RuntimeError, match="the learner's own"):
        asking.parameters.latest()


def test_a_learner_counts_restarts_of_actors_whatever_their_index():
    from stac.launch.launchpad import nodes

    learner = nodes.LearnerNode(Config(), None, None, None, "")
    learner._publish(3, {})
    for actor, restarts in ((0, 1), (7_000, 0), (7_000, 2), (7_001, 4)):
        assert learner.get_parameters(actor, restarts, -1) == (3, {})
    assert learner._count_restarts() == 7


@pytest.mark.parametrize(
    ("does", "status", "says"),
    [
        ("pass", 0, ""),
        ("raise Closed", 0, ""),
        ("raise ConfigError('no\\nsuch game')", 2, "no such game\n"),
        ("raise RuntimeError('broken')", 1, "RuntimeError: broken\n"),
    ],
)
@pytest.mark.faults
def test_a_nodes_process_says_how_it_went(does, status, says):
    program = f"""
        from stac.config import ConfigError
        from stac.launch import child
        from stac.runtime.queues.base import Closed
        def work(stop, heartbeat):
            {does}
        child.run(work, 60)
        print("still here")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=conftest.ROOT,
        capture_output=True,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (status, "")
    assert ended.stderr.endswith(says)
    assert ("Traceback" in ended.stderr) == (status == 1)
