"""The commands: flags, configuration, runtime."""

import importlib.util
import re
import sys

# Another Python than the project's: one line, not the traceback of the first import.
if any(importlib.util.find_spec(library) is None for library in ("absl", "jax")):
    sys.stderr.write(
        "stac's libraries are not installed for this Python: run `make setup`, then"
        " start the command with .venv/bin/python\n"
    )
    sys.exit(2)

from stac import compiled, huge_pages

# `python -m launch.atari` is about to run, and by no debugger that has its own -m.
_found = re.search(r"(?:^| )-[a-zA-Z]*m ?(\w+)", " ".join(sys.orig_argv[1:]))
if sys.argv[:1] == ["-m"] and _found and _found[1] in ("launch", "stac"):
    huge_pages.begin_again()
    compiled.keep()
