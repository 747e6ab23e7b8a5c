"""The live table: what it says, and the terminal that it leaves behind."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stac.runtime.faults import lines
from stac.runtime.logs import table, terminal, words
from tests import conftest
from tests.programs import python

ROW = {
    "frames": 1_250_000.0,
    "updates": 1953.0,
    "seconds": 360.0,
    "frames_per_second": 3412.4,
    "episode_return": 412.31,
    "episodes": 57.0,
    "lag": 1.25,
    "queue_size": 32.0,
    "learner_waits": 0.45,
    "environment_share": 0.7,
    "hyperparameters/gamma/head_1": 0.98912,
}
STATE = words.State(
    title="stacx on atari pong, seed 1",
    workdir="runs/pong",
    total_frames=200_000_000,
    shown={"gamma": "hyperparameters/gamma/head_1"},
    row=ROW,
    left="16 h 10 min left",
    status="",
    age=1.0,
    starved=0.0,
    seen=True,
)
END_SECONDS = 120.0


class Emulator:
    """The lines of a terminal that knows the few control codes of a table."""

    def __init__(self) -> None:
        self.lines, self.at = [""], 0
        self.codes = ""  # all that came
        self._cut = ""  # the beginning of a control code
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, written: bytes) -> None:
        text = self._cut + self._decoder.decode(written)
        self._cut = re.search(r"(\x1b(\[[\d;?]*)?)?$", text)[0]
        text = text.removesuffix(self._cut)
        self.codes += text
        for code in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if code == "\n":
                self.at += 1
                self.lines += [""] * (self.at == len(self.lines))
            elif code == "\x1b[1A":
                self.at -= 1
            elif code == "\x1b[2K":
                self.lines[self.at] = ""
            elif not code.startswith(("\x1b", "\r")):
                self.lines[self.at] += code

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Screen:
    """A pseudo-terminal, which is read at once: its buffer holds a few tables."""

    def __init__(self) -> None:
        self._reader, self.writer = pty.openpty()
        self._more, self._written = threading.Condition(), b""
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.resize(100)

    def resize(self, columns: int, rows: int = 40) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.writer, termios.TIOCSWINSZ, size)

    def take(self) -> bytes:
        """All that was written since the last time; waits a moment for it."""
        with self._more:
            self._more.wait_for(lambda: self._written, 0.1)
            taken, self._written = self._written, b""
        return taken

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        os.close(self._reader)
        os.close(self.writer)

    def _read(self) -> None:
        while not self._closed:
            if select.select([self._reader], [], [], 0.05)[0]:
                new = os.read(self._reader, 65536)
                with self._more:
                    self._written += new
                    self._more.notify_all()


@pytest.fixture
def screen() -> Iterator[Screen]:
    with contextlib.closing(Screen()) as opened:
        yield opened


@pytest.fixture
def drawn(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], table.Table]]:
    """Draws STATE on the screen, which is standard output and standard error."""
    monkeypatch.setattr(table, "SECONDS", 0.1)
    with open(screen.writer, "w", closefd=False) as file:
        tables = []

        def draw() -> table.Table:
            monkeypatch.setattr(sys, "stdout", file)  # now: pytest has its own before
            monkeypatch.setattr(sys, "stderr", file)
            tables.append(table.Table(file))
            tables[-1].show(STATE)
            return tables[-1]

        yield draw
        for each in tables:
            each.close()


def follow(
    screen: Screen,
    emulator: Emulator,
    until: Callable[[str], bool],
    seconds: float = 10.0,
) -> str:
    """Reads until the text on the screen is so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        emulator.feed(screen.take())
        if until(emulator.text):
            return emulator.text
    raise AssertionError(emulator.text)


def test_the_table_says_how_far_how_fast_how_well_and_what_binds(drawn, screen):
    drawn()
    text = follow(screen, Emulator(), lambda text: "╯" in text)
    for words_there in (
        "stacx on atari pong, seed 1",
        "runs/pong",
        "1.25M of 200M frames (0.6 %)",
        "6 min 1 s",
        "16 h 10 min left",
        "the environments bind (the learner waits 45 %)",
    ):
        assert words_there in text
    columns = re.search(r"frames/s .*queue", text)
    assert columns
    assert re.search(r"3,412 +1,953 +57 +412\.3 +1\.2 +32", text)
    assert re.search(r"gamma.*\n.*0\.9891", text)


def test_lines_of_all_threads_are_above_the_one_table(drawn, screen):
    drawn()
    emulator = Emulator()
    follow(screen, emulator, lambda text: "╯" in text)
    speakers = [
        threading.Thread(target=lines.to_stderr, args=(f"line {number}",))
        for number in range(20)
    ]
    for thread in speakers:
        thread.start()
    for thread in speakers:
        thread.join()
    print("half a line", end="")
    text = follow(
        screen, emulator, lambda text: text.count("line ") >= 20 and "╯" in text
    )
    top = text.index("╭")
    assert sorted(re.findall(r"line \d+", text[:top])) == sorted(
        f"line {number}" for number in range(20)
    )
    assert text.count("╭") == text.count("╯") == 1
    sys.stdout.flush()  # as a debugger's prompt
    follow(screen, emulator, lambda text: "half a line\n" in text and "╯" in text)
    lines.put_away()
    follow(screen, emulator, lambda text: "╭" not in text)


def test_a_table_that_is_closed_leaves_a_plain_line_and_the_streams(drawn, screen):
    emulator, live = Emulator(), drawn()
    during = sys.stdout, sys.stderr
    follow(screen, emulator, lambda text: "╯" in text)
    live.close(STATE)
    live.close(STATE._replace(row={}))
    text = follow(screen, emulator, lambda text: "left\n" in text)
    assert text.rstrip("\n") == words.last_line(STATE)
    assert sys.stdout is sys.stderr
    assert sys.stdout not in during
    assert lines.put_away is None


def test_in_the_background_lines_alone_are_printed(drawn, screen, monkeypatch):
    monkeypatch.setattr(table, "_in_foreground", lambda file: False)
    emulator, live = Emulator(), drawn()
    long = "a line that is longer than the terminal " * 4
    lines.to_stdout(long)
    text = follow(screen, emulator, lambda text: long in text)  # as one line
    assert text.startswith(words.line(STATE))
    time.sleep(0.3)  # three tables
    emulator.feed(screen.take())
    assert emulator.codes.count("\x1b") == 0
    live.close()


def test_a_run_that_ends_in_the_background_erases_nothing(drawn, screen, monkeypatch):
    emulator, live = Emulator(), drawn()
    follow(screen, emulator, lambda text: "╯" in text)
    monkeypatch.setattr(table, "_in_foreground", lambda file: False)
    time.sleep(0.3)  # for a table that was on its way
    emulator.feed(screen.take())
    emulator.codes = ""
    live.close(STATE)
    follow(screen, emulator, lambda text: words.last_line(STATE) in text)
    assert "\x1b[1A" not in emulator.codes


def test_a_line_without_an_end_is_there_after_the_table(drawn, screen):
    emulator, live = Emulator(), drawn()
    follow(screen, emulator, lambda text: "╯" in text)
    print("half a line", end="")
    live.close()
    follow(screen, emulator, lambda text: text.rstrip("\n").endswith("half a line"))


def test_a_low_and_narrow_terminal_gets_the_upper_part_and_whole_words():
    console = table._Console(io.StringIO())
    console.size = (50, 40)
    with console.capture() as capture:
        console.print(table._Cropped(table.contents(STATE)))
    bottleneck = "the environments bind (the learner waits 45 %)"
    assert bottleneck in re.sub(r"[│\s]+", " ", capture.get())
    console.size = (50, 8)
    with console.capture() as capture:
        console.print(table._Cropped(table.contents(STATE)))
    assert capture.get().count("\n") == 6


def test_nothing_piles_up_for_a_terminal_that_is_gone():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("gone")

    console = table._Console(Gone())
    with pytest.raises(OSError, match="gone"):
        console.print("x")
    assert console._buffer == []


def test_a_terminal_of_ascii_gets_a_table(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "SECONDS", 0.1)
    with (
        open(screen.writer, "w", closefd=False, encoding="ascii") as file,
        contextlib.closing(table.Table(file)) as live,
    ):
        live.show(STATE._replace(status="compiling"))
        text = follow(screen, Emulator(), lambda text: "compiling" in text)
    assert text.isascii()
    assert "compiling \\u2026 1 s" in text


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    term: str, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(screen.writer, "w", closefd=False) as file:
        monkeypatch.setenv("TERM", "xterm")
        assert terminal.is_live(file)
        monkeypatch.setenv("TERM", term)
        assert not terminal.is_live(file)
    assert not terminal.is_live(None)


def test_what_is_no_terminal_does_not_wait_for_rich():
    code = (
        "import sys; from stac.runtime.logs import terminal\n"
        "view = terminal.view(); assert isinstance(view, terminal.Lines), view\n"
        "assert 'rich' not in sys.modules"
    )
    ended = python("-c", code, TERM="xterm")
    assert ended.returncode == 0, ended.stderr


def test_a_run_in_a_terminal_shows_one_table_and_ctrl_c_leaves_lines(screen, tmp_path):
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    flags = ("--runtime=lockstep", "--agent=impala", f"--workdir={tmp_path}")
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.catch", *flags],
        cwd=conftest.ROOT,
        env=environment,
        stdin=screen.writer,
        stdout=screen.writer,
        stderr=screen.writer,
        start_new_session=True,
    )
    emulator = Emulator()
    try:
        follow(screen, emulator, lambda text: "frames/s" in text, END_SECONDS)
        assert emulator.text.count("╭") == 1
        assert "impala on catch" in emulator.text
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(END_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    follow(screen, emulator, lambda text: f" is saved in {tmp_path}\n" in text)
    assert "╭" not in emulator.text
    *_, evaluate, last = emulator.text.rstrip("\n").split("\n")
    assert re.fullmatch(rf"update [\d,]+ is saved in {tmp_path}", last)
    assert evaluate.endswith(f"-m stac evaluate --workdir={tmp_path}")
    assert (
        f"continue  {sys.executable} -m launch.catch {' '.join(flags)}" in emulator.text
    )
    assert "\x1b[?25l" not in emulator.codes, "the cursor was hidden"
    assert "\x1b[3" not in emulator.codes, "NO_COLOR"
