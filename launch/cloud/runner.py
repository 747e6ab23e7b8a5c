"""Carries out a plan, and deletes what it created, however it ends."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from stac.config import FAILED
from stac.launch.cloud.plan import Argv, Made, Plan, Step
from stac.runtime.faults import lines, shutdown

PAUSE_SECONDS = 10.0  # before something is tried or asked again
PATIENCE = 30  # tries in a row that fail, of what may fail for a while
LOOK_SECONDS = 0.1
CREATING_SECONDS = 120.0  # from a signal until a command that creates is cut short
SAVING_SECONDS = 300.0  # from a signal until the run is left, saved or not
ENDING_SECONDS = 5.0  # from SIGTERM to SIGKILL
DELETING_SECONDS = 1800.0  # for one try


class Failed(Exception):
    """A step failed; the message says which."""


class Stopped(Exception):
    """A signal ended the launch before the run began, or a second one after."""


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    output: str


class Runner:
    """One launch. Children get no signals of the terminal; this process gets them."""

    def __init__(
        self, plan: Plan, folder: pathlib.Path, collect_seconds: float
    ) -> None:
        """Prepares a launch.

        Args:
          plan: what to do.
          folder: an empty one, for the plan's files.
          collect_seconds: between two collections of the workdir; 0: at the end alone.
        """
        self._plan, self._folder = plan, folder
        self._collect_seconds = collect_seconds or float("inf")
        self._words = {"{folder}": str(folder)}
        self._created: list[Made] = []
        self._signals: list[int] = []
        self._stopping = False  # the run knows that it shall end

    def run(self) -> int:
        """Returns the run's exit status, or 1 if something else failed.

        A launch that a signal ended before the run did has 128 and the signal's number.
        """
        status = FAILED
        with _on_signals(self._signals):
            try:
                status = self._train()
            except Failed as failure:
                lines.to_stderr(f"launch.cloud: {failure}")
            except Stopped:
                status = 128 + self._signals[0]
            finally:
                left = [
                    thing for thing in reversed(self._created) if not _deleted(thing)
                ]
        for thing in left:
            lines.to_stderr(
                f"launch.cloud: the {thing.name} COULD NOT BE DELETED and may cost"
                f" money; delete it by: {shlex.join(thing.delete)}"
            )
        return FAILED if left and not status else status

    def _train(self) -> int:
        for name, content in self._plan.files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for step in self._plan.steps:
            self._do(step)
        try:
            status = self._follow()
        finally:
            self._collect(SAVING_SECONDS)
        if status:
            self._explain(self._plan.follow)
        return status

    def _do(self, step: Step) -> None:
        """Does a step.

        Raises:
          Failed: it failed.
          Stopped: a signal came.
        """
        lines.to_stdout(f"launch.cloud: {step.about}")
        self._register(step)
        patience = CREATING_SECONDS if step.makes else 0.0
        if step.until:
            ended = self._poll(step)
        else:
            ended = self._all(step.commands, patience, keeps=bool(step.keep))
        status = max(abs(command.status) for command in ended)
        if step.makes and (status or self._signals):
            time.sleep(PAUSE_SECONDS)  # a request on its way may still create something
        if self._signals:
            raise Stopped
        if status:
            self._explain(step)
            raise Failed(f"failed: {step.about} (exit status {status})")
        if step.keep:
            for number, word in enumerate(ended[0].output.split()):
                self._words[f"{{{step.keep}{number}}}"] = word

    def _register(self, step: Step) -> None:
        """Notes what a step will create, unless that is there already."""
        if not step.makes:
            return
        thing = step.makes
        (look,) = self._all([thing.exists], keeps=True)
        if self._signals:
            raise Stopped
        if look.status:
            raise Failed(f"cannot look for the {thing.name}, so it is not created")
        if look.output.strip():
            raise Failed(f"there is a {thing.name} already: choose another --name")
        lines.to_stdout(f"launch.cloud: in the end: {shlex.join(thing.delete)}")
        self._created.append(thing)

    def _poll(self, step: Step) -> list[Ended]:
        """Repeats a step's command until it prints what is hoped for."""
        failures, before = 0, ""
        while failures < PATIENCE:
            (ended,) = self._all(step.commands, keeps=True)
            answer = ended.output.strip()
            if self._signals or (not ended.status and answer == step.until):
                return [ended]
            failures = failures + 1 if ended.status else 0
            if answer != before:
                lines.to_stdout(f"launch.cloud: … {answer}")
            if answer in step.never:
                self._explain(step)
                raise Failed(f"failed: {step.about}: it is {answer}")
            before = answer
            self._pause()
        return [ended]

    def _follow(self) -> int:
        """Shows the run's log and collects from time to time; returns its status."""
        follow, failures = self._plan.follow, 0
        lines.to_stdout(f"launch.cloud: {follow.about}")
        self._register(follow)
        while failures < PATIENCE:
            status = self._watch(self._start(follow.commands[0]))
            if not self._plan.status:
                return abs(status)
            (answer,) = self._all([self._plan.status], keeps=True)
            word = answer.output.strip()
            if not answer.status and word.isdigit():
                return int(word)
            failures = failures + 1 if answer.status else 0
            self._pause()
        raise Failed("host 0 cannot be reached any more")

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for the end of follow's command; returns its exit status."""
        signalled: float | None = None  # since when
        collected = time.monotonic()
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if self._signals and signalled is None:
                signalled = now
                self._stop()
            late = signalled is not None and now - signalled > SAVING_SECONDS
            if late or len(self._signals) > 1:
                _end(process)
                raise Stopped
            if now - collected > self._collect_seconds:
                self._collect()
                collected = time.monotonic()
        return process.returncode

    def _stop(self) -> None:
        """Asks the run to end, once: to a run that saves, twice is to leave at once."""
        if not self._stopping:
            lines.to_stdout("launch.cloud: asking the run to save and end")
            ended = self._all(self._plan.stop)
            self._stopping = any(not command.status for command in ended)

    def _collect(self, patience: float = 0.0) -> None:
        """Fetches what the run has written. That it fails is said, and no more."""
        for step in self._plan.collect:
            lines.to_stdout(f"launch.cloud: {step.about}")
            if any(ended.status for ended in self._all(step.commands, patience)):
                lines.to_stderr(f"launch.cloud: failed: {step.about}")

    def _explain(self, step: Step) -> None:
        if step.explain:
            lines.to_stdout("launch.cloud: the last lines of every host:")
            self._all(step.explain, patience=PAUSE_SECONDS)

    def _all(
        self, commands: Sequence[Argv], patience: float = 0.0, keeps: bool = False
    ) -> list[Ended]:
        """Runs commands side by side.

        Args:
          commands: theirs.
          patience: seconds from a signal until they are ended; a second signal ends
            them at once.
          keeps: whether their output is kept, or shown.
        """
        before, since = len(self._signals), float("inf")
        with contextlib.ExitStack() as stack:
            outputs = [
                stack.enter_context(tempfile.TemporaryFile()) if keeps else None
                for _ in commands
            ]
            processes = [
                self._start(command, output)
                for command, output in zip(commands, outputs, strict=True)
            ]
            while any(process.poll() is None for process in processes):
                time.sleep(LOOK_SECONDS)
                now, new = time.monotonic(), len(self._signals) - before
                if new and now < since:
                    since = now
                    if patience:
                        lines.to_stdout(
                            "launch.cloud: ending; another Ctrl-C does not wait"
                        )
                if new > 1 or now - since >= patience:
                    for process in processes:
                        _end(process)
            return [
                Ended(process.returncode, _read(output))
                for process, output in zip(processes, outputs, strict=True)
            ]

    def _start(
        self, command: Argv, output: IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._fill(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            start_new_session=True,
        )

    def _fill(self, command: Argv) -> Argv:
        for word, value in self._words.items():
            command = tuple(argument.replace(word, value) for argument in command)
        return command

    def _pause(self) -> None:
        deadline, before = time.monotonic() + PAUSE_SECONDS, len(self._signals)
        while time.monotonic() < deadline and len(self._signals) == before:
            time.sleep(min(LOOK_SECONDS, PAUSE_SECONDS))


def _deleted(thing: Made) -> bool:
    """Deletes a thing and looks whether it is gone. No signal cuts that short."""
    lines.to_stdout(f"launch.cloud: deleting the {thing.name}: please wait")
    for _ in range(PATIENCE):
        _quietly(thing.delete)
        look = _quietly(thing.exists)
        if not look.status and not look.output.strip():
            return True
        time.sleep(PAUSE_SECONDS)
    return False


def _quietly(command: Argv) -> Ended:
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            timeout=DELETING_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Ended(FAILED, str(error))
    return Ended(ended.returncode, ended.stdout.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and what it started; not its number's next owner."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(output: IO[bytes] | None) -> str:
    if output is None:
        return ""
    output.seek(0)
    return output.read().decode(errors="replace")


@contextlib.contextmanager
def _on_signals(arrived: list[int]) -> Iterator[None]:
    """Notes signals, and lets them do nothing else."""
    before = shutdown.handle(lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
