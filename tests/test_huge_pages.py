"""Commands that begin again with another malloc, where that is of use."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from stac import huge_pages


def test_what_the_user_tuned_beside_malloc_stays():
    given = {"A": "b", huge_pages.VARIABLE: "glibc.cpu.x=1"}
    environment = huge_pages.wanted(given)
    assert environment is not None
    assert environment["A"] == "b"
    first, *ours = environment[huge_pages.VARIABLE].split(":")
    assert first == "glibc.cpu.x=1"
    assert [each.partition("=")[0] for each in ours] == [*huge_pages.TUNABLES]


def test_where_malloc_is_tuned_nothing_begins_again():
    assert not huge_pages.wanted({huge_pages.VARIABLE: "glibc.malloc.hugetlb=0"})


def test_a_process_begins_again_once_whatever_became_of_the_variable():
    environment = huge_pages.wanted({})
    assert environment is not None
    del environment[huge_pages.VARIABLE]
    assert huge_pages.wanted(environment) is None


@pytest.mark.parametrize(
    ("name", "module", "times"),
    [
        ("launch", ["-m", "launch"], 2),
        ("launch", ["-mlaunch"], 2),
        ("launch", ["-Xa-m", "-um", "launch"], 2),
        ("debugger", ["-m", "debugger"], 1),
        ("debugger", ["-m", "debugger", "-m", "launch"], 1),
    ],
)
def test_a_command_begins_once_more_as_it_was_typed(name, module, times, tmp_path):
    """The package is imported twice, its program runs once, in the same process."""
    ours = (huge_pages.VARIABLE, huge_pages._BEGUN)
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("print('imported')\nimport stac.launch\n")
    tell = (
        "print(os.getpid(), os.environ.get('GLIBC_TUNABLES', '-'), sys.orig_argv[1:])"
    )
    (package / "__main__.py").write_text(f"import os, sys\n{tell}\n")
    arguments = ["-u", *module, "--flag=a b"]
    source = str(pathlib.Path(huge_pages.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        text=True,
    )
    *imported, told = process.communicate()[0].splitlines()
    assert imported == ["imported"] * times
    number, tunables, typed = told.split(" ", 2)
    assert int(number) == process.pid
    assert tunables.count("glibc.malloc.hugetlb=1") == times - 1
    assert typed == str(arguments)
