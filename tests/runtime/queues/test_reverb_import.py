"""Reverb without TensorFlow, in a process of its own; TensorFlow takes seconds."""

from __future__ import annotations

import pytest

from tests.programs import python

pytest.importorskip("reverb")

ALONE = """
import sys
from stac.runtime.queues import reverb_import
reverb = reverb_import.load()
assert reverb_import.load() is reverb
assert not [name for name in sys.modules if name.startswith("tensorflow")]
import tensorflow
assert float(tensorflow.constant([1.0, 2.0])[1] + 1) == 3.0
"""


def test_reverb_comes_without_tensorflow_which_can_be_imported_after_it() -> None:
    ended = python("-c", ALONE)
    assert ended.returncode == 0, ended.stderr
