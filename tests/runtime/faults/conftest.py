"""What the tests of faults share with those of whole runs."""

from tests.launch.conftest import stderr as stderr
