"""Where compiled programs are kept; that a run keeps its own is in test_commands.py."""

from __future__ import annotations

import os
import pathlib
from unittest import mock

import pytest

from stac import compiled


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A user's cache, and an environment that names no folder of JAX's."""
    for name in (compiled.VARIABLE, compiled._SHORTEST):
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_folder_of_the_users_cache_is_named_for_this_cpu(cache):
    compiled.keep()
    folder = pathlib.Path(os.environ[compiled.VARIABLE])
    assert folder.is_dir()
    assert folder.parent == cache / "stac" / "compiled"
    assert os.environ[compiled._SHORTEST] == "0.3"


@pytest.mark.parametrize("named", ["", "elsewhere"])
def test_a_folder_that_the_user_names_stays(cache, monkeypatch, named):
    monkeypatch.setenv(compiled.VARIABLE, named)
    compiled.keep()
    assert os.environ[compiled.VARIABLE] == named
    assert not list(cache.iterdir())


def test_where_nothing_can_be_written_nothing_is_kept(cache, monkeypatch):
    occupied = cache / "file"
    occupied.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    compiled.keep()
    assert compiled.VARIABLE not in os.environ


def test_where_there_is_no_home_nothing_is_kept(cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pathlib.Path, "home", mock.Mock(side_effect=RuntimeError))
    compiled.keep()
    assert compiled.VARIABLE not in os.environ


def test_the_oldest_programs_make_room(cache, monkeypatch):
    compiled.keep()
    folder = pathlib.Path(os.environ.pop(compiled.VARIABLE))
    for age, name in enumerate(("new", "old", "oldest")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compiled, "_MOST_BYTES", 250)
    compiled.keep()
    assert sorted(path.name for path in folder.iterdir()) == ["new", "old"]


def test_a_program_that_another_command_has_removed_is_none_of_ours(cache, monkeypatch):
    gone = mock.Mock(side_effect=FileNotFoundError)
    monkeypatch.setattr(compiled, "_forget_oldest", gone)
    compiled.keep()
    gone.assert_called_once()
    assert compiled.VARIABLE in os.environ
