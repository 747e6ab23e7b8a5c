"""A report that prints its arguments: tests of sweeps look at how it is called."""

import sys

print("report of", *sys.argv[1:])
