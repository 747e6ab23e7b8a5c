"""The tree keeps its own rules, and each rule is seen to catch who breaks it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from tests import architecture
from tests.conftest import ROOT

CHECKS = (
    architecture.layers,
    architecture.doors,
    architecture.purity,
    architecture.environment_writes,
    architecture.lengths,
)
Check = Callable[[pathlib.Path], list[str]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_this_tree_keeps_the_rule(check: Check) -> None:
    violations = check(ROOT)
    assert not violations, "\n".join(violations)


def test_no_tracked_file_names_a_package_host() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    files = architecture.tracked_files(ROOT)
    assert ROOT / "README.md" in files
    violations = architecture.package_hosts(files)
    assert not violations, "\n".join(violations)


def test_every_checker_reads_the_files_of_this_tree() -> None:
    modules = [module for _, module, _ in architecture._sources(ROOT)]
    assert {"stac.types", "stac.agents.base", "stac.launch", "stac.configs"} <= set(
        modules
    )


@pytest.mark.parametrize(
    ("check", "path", "line"),
    [
        ("layers", "stac/types.py", "from stac import config"),
        ("layers", "stac/config.py", "import stac.types"),
        ("layers", "stac/learning/x.py", "from stac.networks import torsos"),
        ("layers", "stac/learning/x.py", "from stac import networks"),
        ("layers", "stac/learning/x.py", "from stac.environments.base import A"),
        ("layers", "stac/environments/x.py", "from stac import networks"),
        ("layers", "stac/networks/x.py", "import stac.learning.losses"),
        ("layers", "stac/networks/x.py", "from stac.environments import atari"),
        ("layers", "stac/agents/x.py", "from stac.environments import atari"),
        ("layers", "stac/agents/x.py", "from stac import runtime"),
        ("layers", "stac/runtime/x.py", "from stac.agents import actor_critic"),
        ("layers", "stac/runtime/x.py", "def f():\n    import stac.learning"),
        ("layers", "stac/runtime/x.py", "from stac.launch import threads"),
        ("layers", "stac/runtime/x.py", "from launch import threads"),
        ("layers", "configs/x.py", "from stac.runtime import learner"),
        ("layers", "stac/utils.py", "X = 1"),
        ("doors", "stac/runtime/x.py", "import ale_py"),
        ("doors", "stac/environments/x.py", "from ale_py import vector_env"),
        ("doors", "launch/threads.py", "import reverb"),
        ("doors", "stac/runtime/queues/reverb.py", "import launchpad as lp"),
        ("doors", "stac/agents/x.py", "import haiku as hk"),
        ("doors", "stac/learning/losses.py", "import optax"),
        ("doors", "stac/runtime/learner.py", "import orbax.checkpoint as ocp"),
        ("doors", "stac/learning/x.py", "import rlax"),
        ("doors", "stac/runtime/learner.py", "import jax\njax.pmap(len)"),
        ("doors", "stac/runtime/learner.py", "from jax import pmap"),
        ("doors", "stac/runtime/learner.py", "import jax\njax.distributed.shutdown()"),
        ("doors", "stac/learning/x.py", "from jax import lax\nlax.psum(1, 'i')"),
        ("purity", "stac/learning/x.py", "import time"),
        ("purity", "stac/learning/x.py", "from pathlib import Path"),
        ("environment_writes", "launch/x.py", "import os\nos.environ['A'] = '1'"),
        ("environment_writes", "stac/x.py", "import os\nos.environ.setdefault('A')"),
        ("environment_writes", "stac/x.py", "import os\nif 1:\n    os.putenv('A', '')"),
        ("lengths", "stac/types.py", "X = 1\n" * 400),
        ("lengths", "stac/types.py", "def f():\n" + "    x = 1\n" * 80),
    ],
)
def test_who_breaks_a_rule_is_found(
    tmp_path: pathlib.Path, check: str, path: str, line: str
) -> None:
    checker = getattr(architecture, check)
    assert checker(_tree(tmp_path / "clean", {})) == []
    violations = checker(_tree(tmp_path / "broken", {path: line}))
    assert len(violations) == 1
    assert path in violations[0]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("stac/networks/x.py", "import haiku as hk\nfrom stac import distributions"),
        ("stac/learning/optimizers.py", "import optax\nimport jax\njax.jit(len)"),
        ("stac/runtime/devices.py", "import jax\njax.pmap(jax.lax.psum)"),
        ("stac/runtime/x.py", "import time\nfrom stac.agents.base import Agent"),
        (
            "launch/launchpad/program.py",
            "import launchpad\nfrom stac import agents",
        ),
        ("launch/x.py", "import os\ndef f():\n    os.environ['A'] = '1'"),
    ],
)
def test_who_keeps_the_rules_is_left_alone(
    tmp_path: pathlib.Path, path: str, line: str
) -> None:
    root = _tree(tmp_path, {path: line})
    assert [check(root) for check in CHECKS] == [[] for _ in CHECKS]


@pytest.mark.parametrize(
    "line",
    [
        "url = https://files.python" + "hosted.org/packages/a.tar.gz",
        "--extra-" + "index-url https://example.com/simple",
        "see https://py" + "pi.org/project/jax",
    ],
)
def test_a_package_host_in_a_file_is_found(tmp_path: pathlib.Path, line: str) -> None:
    clean, broken = tmp_path / "clean.txt", tmp_path / "broken.txt"
    clean.write_text("jax==0.6.2\nhttps://arxiv.org/abs/2002.12928\n")
    broken.write_text(f"jax==0.6.2\n{line}\n")
    assert len(architecture.package_hosts([clean, broken])) == 1


def _tree(root: pathlib.Path, extra: dict[str, str]) -> pathlib.Path:
    """A small tree that keeps every rule, with some files added or replaced."""
    rooms = ("agents", "environments", "learning", "networks", "runtime")
    files = {"stac/types.py": "import jax", "stac/config.py": "X = 1"}
    files |= {f"stac/{room}/__init__.py": "" for room in rooms}
    files |= {
        "stac/__init__.py": "",
        "launch/__init__.py": "",
        "configs/__init__.py": "",
    }
    files |= {"stac/distributions.py": "", "stac/agents/base.py": ""}
    files |= {"stac/networks/torsos.py": "", "stac/learning/losses.py": ""}
    for path, text in (files | extra).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f'"""A file."""\n{text}\n')
    return root
