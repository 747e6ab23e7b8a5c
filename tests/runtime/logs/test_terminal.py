"""The progress line: it comes in time, says what it means, and outlives a terminal."""

from __future__ import annotations

import io
import math
import os
import sys
import threading
import time

import pytest

from stac.runtime.logs import terminal, words

ROW = {
    "frames": 1_250_000,
    "updates": 1953,
    "frames_per_second": 3412.4,
    "episode_return": 412.31,
    "episodes": 57,
    "hyperparameters/gamma/head_1": 0.98912,
}


class Screen(io.StringIO):
    """Collects lines and lets a test wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.more = threading.Condition()

    def flush(self) -> None:
        with self.more:
            self.more.notify_all()

    def lines(self, count: int = 0) -> list[str]:
        """All lines, once there are `count`."""
        with self.more:
            enough = self.more.wait_for(
                lambda: self.getvalue().count("\n") >= count, timeout=10
            )
        assert enough, self.getvalue()
        return self.getvalue().splitlines()


def test_a_line_says_how_far_how_fast_how_well_and_how_long() -> None:
    shown = {"gamma": "hyperparameters/gamma/head_1"}
    assert words.progress(ROW, 200_000_000, "16 h 10 min left", shown) == (
        "1.25M of 200M frames (0.6 %)  3,412 frames/s  return 412.3 after 57 episodes"
        "  1,953 updates  gamma 0.9891  16 h 10 min left"
    )


def test_what_is_not_known_yet_is_not_invented() -> None:
    row = {"frames": 0, "episode_return": math.nan, "frames_per_second": math.nan}
    assert words.progress(row, 1000) == "0 of 1k frames (0.0 %)  no episode yet"


def test_the_time_left_is_called_a_guess_until_a_minute_is_measured() -> None:
    assert words.time_left(10**6, 0, 0.0) == ""
    assert words.time_left(10**6, 0, 90.0) == ""
    guess = "13 d 21 h left (a guess: measured for 12 s)"
    assert words.time_left(10**6, 10, 12.0) == guess
    assert words.time_left(10**6, 10_000, 60.0) == "1 h 40 min left"
    assert words.time_left(-1, 10, 12.0) == "0 s left"


def test_a_run_past_its_end_is_at_a_hundred_percent() -> None:
    assert words.progress({"frames": 11}, 10).startswith("11 of 10 frames (100.0 %)")


def test_the_time_left_is_reckoned_from_all_rows_since_the_first() -> None:
    now = [100.0]
    screen = Screen()
    printer = terminal.Terminal(1000, terminal.Lines(screen, 60), clock=lambda: now[0])
    for seconds, frames in ((100, 500), (105, 501), (200, 600)):
        now[0] = seconds
        printer.write({"frames": frames, "frames_per_second": 1e6})
    printer.close()
    first, last = screen.lines()
    assert "left" not in first
    assert last.endswith("  6 min 40 s left")


def test_a_terminal_of_ascii_gets_every_line() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    printer = terminal.Terminal(10, terminal.Lines(file, 60))
    printer.note("runs/ü … 8 s")
    printer.close()
    assert file.buffer.getvalue() == b"runs/\\xfc \\u2026 8 s\n"


def test_one_is_not_many() -> None:
    row = {"frames": 1, "episode_return": 2.0, "episodes": 1, "updates": 1}
    assert words.progress(row, 2) == (
        "1 of 2 frames (50.0 %)  return 2 after 1 episode  1 update"
    )


@pytest.mark.parametrize(
    ("waits", "share", "text"),
    [
        (0.45, 0.7, "the environments bind (the learner waits 45 %)"),
        (0.45, 0.3, "acting binds (the learner waits 45 %)"),
        (0.45, math.nan, "the actors bind (the learner waits 45 %)"),
        (0.2, 0.9, "nothing binds by much (the learner waits 20 %)"),
        (0.02, 0.9, "the update binds (the learner waits 2 %)"),
        (math.nan, 0.9, ""),
    ],
)
def test_the_line_says_what_binds_the_run(
    waits: float, share: float, text: str
) -> None:
    row = {**ROW, "learner_waits": waits, "environment_share": share}
    assert words.binds(row) == text
    assert text in words.progress(row, 10)
    assert words.binds(ROW) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (58_200, "16 h 10 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_status_is_said_at_once_once_and_again_while_it_lasts() -> None:
    screen = Screen()
    view = terminal.Lines(screen, 0.05)
    printer = terminal.Terminal(10, view, clock=lambda: 0.0)
    printer.status("compiling the update")
    printer.status("compiling the update")
    lines = screen.lines(count=3)
    printer.close()
    assert lines[0] == "compiling the update"
    assert lines[1:3] == 2 * ["compiling the update … 0 s"]


def test_a_learner_without_trajectories_is_said_and_for_how_long() -> None:
    screen, waits = Screen(), [45.0]
    printer = terminal.Terminal(10, terminal.Lines(screen, 0.05))
    printer.waiting_seconds = lambda: waits[0]
    printer.write({"frames": 5})
    assert screen.lines(count=2)[1] == "waiting for trajectories … 45 s"
    waits[0] = 0.01  # which is nothing to speak of
    count = len(screen.lines())
    assert screen.lines(count + 2)[-1].startswith("5 of 10 frames")
    printer.close()


def test_the_first_row_is_printed_at_once_and_the_last_at_close() -> None:
    screen = Screen()
    printer = terminal.Terminal(1000, terminal.Lines(screen, 60))
    for frames in (1, 2, 3):
        printer.write({"frames": frames})
    assert [line.split()[0] for line in screen.lines()] == ["1"]
    printer.close("saved")
    printer.close("again")
    assert [line.split()[0] for line in screen.lines()] == ["1", "3", "saved"]


def test_a_slow_update_does_not_keep_the_line_from_coming() -> None:
    now = [0.0]
    screen = Screen()
    printer = terminal.Terminal(
        1000, terminal.Lines(screen, 0.05), clock=lambda: now[0]
    )
    printer.write({"frames": 640})
    now[0] = 23.0
    lines = screen.lines(count=2)
    printer.close()
    assert lines[1].startswith("640 of 1k frames")
    assert lines[1].endswith("(as of 23 s ago)")


def test_closing_is_quick_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    printer = terminal.Terminal(10, terminal.Lines(Screen(), 60))
    [started] = set(threading.enumerate()) - before
    start = time.monotonic()
    printer.close()
    assert time.monotonic() - start < 5
    assert not started.is_alive()
    assert set(threading.enumerate()) <= before


def test_a_terminal_that_went_away_does_not_end_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    printer = terminal.Terminal(10, terminal.Lines(pipe, 60))
    printer.status("compiling")
    printer.write({"frames": 1})
    printer.close()
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_where_stdout_was_closed_at_the_start_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    printer = terminal.Terminal(10, terminal.Lines(seconds=60))
    printer.status("compiling")
    printer.close("saved")


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (12_345, "12.3k"), (999_936, "1M"), (999.6e6, "1G"), (2e8, "200M")],
)
def test_amounts_have_three_digits_that_count(number, text):
    assert words.amount(number) == text
