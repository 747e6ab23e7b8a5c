"""The commands: flags, configuration, runtime."""

import signal
import sys

# `python -m launch.…` imports for seconds. Python's answer to Ctrl-C is an exception,
# which is lost where an import calls back; until `as_program` it just ends the process.
_PROGRAM = sys.argv[:1] == ["-m"]
if _PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
