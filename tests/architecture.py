"""Who may know whom: the rules of the tree, checked on its source without running it.

Every checker takes the root of a tree and returns its violations, one line each, so
that the tests can show it both this tree and one that breaks the rule.
"""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

PACKAGES = ("stac", "launch", "configs")
# In a checkout these two stand beside `stac`, which has a link to each: what is
# installed has one name.
LINKED = ("launch", "configs")
MAXIMUM_LINES = 400
MAXIMUM_FUNCTION_LINES = 80

# A room (a module or package; the longest match holds) and what of this tree it may
# import. Everything may import itself; what has no room here is a violation.
FIRST_ROW = ("stac.types", "stac.config", "stac.distributions", "stac.snapshots")
KNOWS: dict[str, tuple[str, ...]] = {
    "stac.types": (),
    "stac.config": (),
    "stac.snapshots": (),
    "stac.children": (),
    "stac.compiled": (),
    "stac.cores": (),
    "stac.huge_pages": (),
    "stac.distributions": ("stac.types",),
    "stac.environments": (*FIRST_ROW, "stac.children", "stac.cores"),
    "stac.networks": (*FIRST_ROW, "stac.environments.base"),  # for the spec alone
    "stac.learning": FIRST_ROW,
    "stac.agents": (
        *FIRST_ROW,
        "stac.environments.base",
        "stac.networks",
        "stac.learning",
    ),
    # Runtimes see two contracts; environments and agents arrive built or as factories.
    "stac.runtime": (
        *FIRST_ROW,
        "stac.references",
        "stac.environments.base",
        "stac.agents.base",
    ),
    "stac.configs": (*FIRST_ROW, "stac.agents.make"),
    "stac.launch": ("stac",),
    "stac.__main__": (
        "stac.compiled",
        "stac.huge_pages",
        "stac.launch",
        "stac.runtime.faults",
        "stac.config",
    ),
    "stac.references": (),
    "stac.evaluation": ("stac",),
    "stac.report": ("stac",),
}

# What any file may import besides the standard library, and the doors of the rest.
EVERYWHERE = ("jax", "numpy")
DOORS: dict[str, tuple[str, ...]] = {
    "absl": ("stac.launch",),
    "ale_py": ("stac.environments.atari",),
    # `rendering` imports it, with OpenGL or without; `realworld.tasks` comes after.
    "dm_control": (
        "stac.environments.rendering",
        "stac.environments.realworld.tasks",
    ),
    "dm_env": ("stac.environments",),
    "gymnasium": ("stac.environments",),
    "haiku": ("stac.networks",),
    "imageio_ffmpeg": ("stac.evaluation.video",),
    "jaxlib": ("stac.runtime.devices",),
    "launchpad": ("stac.launch.launchpad",),
    "matplotlib": ("stac.report",),
    "PIL": ("stac.report.figures",),  # matplotlib's own library for pictures
    "optax": ("stac.learning.optimizers",),
    "orbax": ("stac.runtime.storage.checkpoints",),
    "reverb": ("stac.runtime.queues.reverb",),
    "rich": ("stac.runtime.logs.table", "stac.launch.watching"),
    "tensorboardX": ("stac.runtime.logs.loggers",),
    "wandb": ("stac.runtime.logs.wandb",),
    # Parts of what is allowed everywhere or of the standard library.
    "jax.distributed": ("stac.runtime.devices",),
    "jax.pmap": ("stac.runtime.devices",),
    "jax.lax.psum": ("stac.runtime.devices",),
    "jax.lax.pmean": ("stac.runtime.devices",),
    "jax.lax.all_gather": ("stac.runtime.devices",),
}

# `learning` and `networks` are pure: no clock, no file, no thread, no process.
PURE = ("stac.learning", "stac.networks", "stac.distributions", "stac.types")
IMPURE_MODULES = (
    *("io", "logging", "multiprocessing", "os", "pathlib", "queue", "random"),
    *("shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time"),
)

# Hosts that serve packages, and lines that point a package client at one. Written as
# patterns that do not match themselves.
PACKAGE_HOSTS = re.compile(
    r"py(?:pi|thonhosted)\.(?:org|io)|registry\.(?:npmjs|yarnpkg)\.|deb\.(?:debian)\.org"
    r"|proxy\.(?:golang)\.org|-{2}(?:extra-)?index-url|-{2}find-links|[a-z]+\.whl[#]"
)


def layers(root: pathlib.Path) -> list[str]:
    """Imports inside the tree that `KNOWS` does not allow."""
    violations = []
    for path, module, tree in _sources(root):
        room = _longest(module, KNOWS)
        if room is None and module != "stac":
            violations.append(f"{path}: {module} has no room in KNOWS")
            continue
        allowed = (room, *KNOWS[room]) if room else ("stac",)
        for name in sorted(_imports(tree, root)):
            if name.split(".")[0] in PACKAGES and not _inside(name, allowed):
                violations.append(f"{path}: {module} may not know {name}")
    return violations


def doors(root: pathlib.Path) -> list[str]:
    """Uses of outside libraries away from their one door, and libraries without one."""
    violations = []
    known = (*sys.stdlib_module_names, *PACKAGES, *EVERYWHERE)
    for path, module, tree in _sources(root):
        imports = _imports(tree, root)
        behind_doors = {_longest(name, DOORS) for name in imports | _dotted_uses(tree)}
        for library in sorted(behind_doors - {None}):
            if not _inside(module, DOORS[library]):
                violations.append(
                    f"{path}: {library} belongs in {' or '.join(DOORS[library])}"
                )
        for name in sorted(imports):
            if name.split(".")[0] not in known and _longest(name, DOORS) is None:
                violations.append(f"{path}: {name} has no door")
    return violations


def purity(root: pathlib.Path) -> list[str]:
    """Clocks, files, threads and processes where only functions belong."""
    return [
        f"{path}: {module} is pure and may not import {name}"
        for path, module, tree in _sources(root)
        if _inside(module, PURE)
        for name in sorted(_imports(tree, root))
        if name.split(".")[0] in IMPURE_MODULES
    ]


def environment_writes(root: pathlib.Path) -> list[str]:
    """Environment variables that are set when a file is merely imported."""
    return [
        f"{path}:{node.lineno}: sets the environment at import"
        for path, _, tree in _sources(root)
        for statement in tree.body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in _without_functions(statement)
        if _writes_environment(node)
    ]


def lengths(root: pathlib.Path) -> list[str]:
    """Files and functions that cannot be read in one sitting."""
    violations = []
    for path, _, tree in _sources(root):
        count = len(path.read_text().splitlines())
        if count > MAXIMUM_LINES:
            violations.append(f"{path}: {count} lines, more than {MAXIMUM_LINES}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > MAXIMUM_FUNCTION_LINES:
                    violations.append(
                        f"{path}:{node.lineno}: {node.name} has {count} lines, more"
                        f" than {MAXIMUM_FUNCTION_LINES}"
                    )
    return violations


def package_hosts(files: Iterable[pathlib.Path]) -> list[str]:
    """Lines that name where packages come from: that is each machine's own business."""
    violations = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if PACKAGE_HOSTS.search(line):
                violations.append(f"{path}:{number}: names a package host: {line[:80]}")
    return violations


def tracked_files(root: pathlib.Path) -> list[pathlib.Path]:
    """Files of the repository, those that are new and not ignored among them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (root / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def _files(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        path for package in PACKAGES for path in (root / package).rglob("*.py")
    )


def _sources(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, ast.Module]]:
    """(path, dotted module name, syntax tree) of every file."""
    for path in _files(root):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in LINKED:
            parts = ("stac", *parts)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield path, module, ast.parse(path.read_text())


def _imports(tree: ast.Module, root: pathlib.Path) -> set[str]:
    """Every imported name: modules of this tree in full, others as they are written."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                name = f"{source}.{alias.name}"
                ours = source.split(".")[0] in PACKAGES
                # `from stac.types import Array` is stac.types; `from stac import types`
                # is stac.types too.
                names.add(source if ours and not _is_module(name, root) else name)
    return names


def _dotted_uses(tree: ast.Module) -> set[str]:
    """Dotted expressions such as `jax.lax.psum`, with imported names spelled out."""
    aliases = {
        alias.asname or alias.name.split(".")[0]: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname or "." not in alias.name
    }
    aliases |= {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            names.add(f"{aliases.get(head, head)}.{rest}")
    return names


def _is_module(name: str, root: pathlib.Path) -> bool:
    parts = name.split(".")
    if parts[0] == "stac" and parts[1:2] and parts[1] in LINKED:
        parts = parts[1:]
    path = root.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


def _inside(name: str, rooms: Iterable[str]) -> bool:
    return _longest(name, rooms) is not None


def _longest(name: str, rooms: Iterable[str]) -> str | None:
    """The longest of `rooms` that is `name` or a package around it."""
    around = [room for room in rooms if name == room or name.startswith(f"{room}.")]
    return max(around, key=len, default=None)


def _without_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when the file is imported."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _without_functions(child)


def _writes_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called.endswith(("putenv", "environ.setdefault", "environ.update"))
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and ast.unparse(node.value).endswith("environ")
    )
