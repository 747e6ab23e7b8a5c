"""The commands: flags, configuration, runtime."""

import importlib.util
import sys

# Another Python than the project's: one line, not the traceback of the first import.
if any(importlib.util.find_spec(library) is None for library in ("absl", "jax")):
    sys.stderr.write(
        "stac's libraries are not installed for this Python: run `make setup`, then"
        " start the command with .venv/bin/python\n"
    )
    sys.exit(2)

from stac import compiled, huge_pages

# `python -m launch.atari` is about to run: Python is looking for the module.
_words = " ".join(sys.orig_argv).split("-m", 1)
if sys.argv[:1] == ["-m"] and _words[-1].lstrip().startswith(("launch", "stac")):
    huge_pages.begin_again()
    compiled.keep()
