"""Processes that a fork server forks: as subprocess would start them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from stac import children
from stac.config import RunError
from stac.launch import fork_server
from tests import conftest

pytestmark = pytest.mark.faults

SOON = 20.0  # seconds: Python starts slowly on a machine that has other work
PROGRAM = """
    import json, os, signal, sys, threading
    about = {
        "parent": os.getppid(),
        "arguments": sys.argv[1:],
        "colour": os.environ["COLOUR"],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "threads": threading.active_count(),
        "imported": "wave" in sys.modules,
        "input": sys.stdin.readline(),
        "files": [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{n}")],
    }
    print(json.dumps(about), file=sys.stderr, flush=True)
"""


class Started:
    """A child that wrote something to its stderr, or ended."""

    def __init__(self, begin, tmp_path, program, *arguments, files=()):
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(program))
        reader, writer = os.pipe()
        told, teller = os.pipe()
        os.write(teller, b"told\n")
        with open(writer, "wb"), open(told, "rb"), open(teller, "wb"), children.deaf():
            self.process = begin(
                [sys.executable, str(file), *arguments],
                env={**os.environ, "COLOUR": "red"},
                stdin=told,
                stdout=None,
                stderr=writer,
                pass_fds=files,
            )
        with open(reader) as output:
            self.line = output.readline()
            self.rest = output.read() if self.line else ""


@pytest.fixture(scope="module")
def begun():
    with contextlib.closing(fork_server.ForkServer("wave")) as begins:
        yield begins


def test_a_child_is_as_subprocess_would_start_it(begun, tmp_path):
    lock = tmp_path / "lock"
    with open(lock, "w") as held:
        words = ("--a=b", "c")
        files = (held.fileno(),)
        forked = Started(begun.start, tmp_path, PROGRAM, *words, files=files)
        started = Started(subprocess.Popen, tmp_path, PROGRAM, *words, files=files)
    about, expected = json.loads(forked.line), json.loads(started.line)
    assert about.pop("imported")
    assert not expected.pop("imported")
    assert str(lock) in about.pop("files")
    assert str(lock) in expected.pop("files")
    assert about == expected
    assert about["parent"] == os.getpid()
    assert set(about["blocked"]) == children.FOR_THE_PARENT
    assert forked.process.wait(SOON) == started.process.wait(SOON) == 0


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", -6, ""),
        ("import os; os._exit(2)", 2, ""),
    ],
)
def test_the_end_of_a_child(begun, tmp_path, program, status, words):
    child = Started(begun.start, tmp_path, program)
    assert child.process.wait(SOON) == status
    assert words in child.line + child.rest


def test_a_child_is_killed(begun, tmp_path):
    program = "import os, sys, time; os.write(2, b'.\\n'); os.close(2); time.sleep(60)"
    child = Started(begun.start, tmp_path, program)
    assert child.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.process.wait(0.1)
    child.process.send_signal(signal.SIGTERM)  # which a child at work ignores
    child.process.kill()
    assert child.process.wait(SOON) == -signal.SIGKILL
    child.process.kill()  # of a process that is no more


def test_another_begins_where_one_was_killed(begun, tmp_path):
    os.kill(begun._process.pid, signal.SIGKILL)
    begun._process.wait()
    child = Started(begun.start, tmp_path, "raise SystemExit(3)")
    assert child.process.wait(SOON) == 3


def test_children_draw_numbers_of_their_own(tmp_path):
    with contextlib.closing(fork_server.ForkServer("numpy")) as begins:
        program = "import numpy, sys; print(numpy.random.random(), file=sys.stderr)"
        first, second = (Started(begins.start, tmp_path, program) for _ in range(2))
    assert float(first.line) != float(second.line)
    assert first.process.wait(SOON) == second.process.wait(SOON) == 0


def test_modules_of_the_working_directory_hide_none_of_pythons(tmp_path, monkeypatch):
    (tmp_path / "runpy.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(conftest.ROOT), *sys.path[1:]])
    with contextlib.closing(fork_server.ForkServer("wave")) as begins:
        child = Started(begins.start, tmp_path, "raise SystemExit(3)")
        assert child.process.wait(SOON) == 3


def test_a_child_begins_when_it_has_its_parent(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    slow = "os._exit = lambda n, end=os._exit: end(time.sleep(0.3) or n)"
    (tmp_path / "slow_end.py").write_text(f"import os, time; {slow}")
    with contextlib.closing(fork_server.ForkServer("slow_end")) as begins:
        program = "import os, sys; print(os.getppid(), file=sys.stderr)"
        child = Started(begins.start, tmp_path, program)
        assert int(child.line) == os.getpid()
        assert child.process.wait(SOON) == 0


def test_a_child_that_cannot_be_forked_is_a_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    hook = "import os; os.register_at_fork(after_in_child=lambda: os._exit(1))"
    (tmp_path / "broken_fork.py").write_text(hook)
    with (
        contextlib.closing(fork_server.ForkServer("broken_fork")) as broken,
        pytest.raises(RunError, match="starts the others has ended"),
    ):
        Started(broken.start, tmp_path, "pass")


def test_a_fork_server_that_cannot_import_is_a_line(tmp_path, capfd):
    with (
        contextlib.closing(fork_server.ForkServer("stac.no_such_module")) as broken,
        pytest.raises(RunError, match="starts the others has ended"),
    ):
        Started(broken.start, tmp_path, "pass")
    assert "No module named 'stac.no_such_module'" in capfd.readouterr().err
