"""Leaves: two states have one digest only where every bit is the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from stac.runtime.storage import leaves
from tests.runtime.storage.test_checkpoints import a_state


def test_the_digest_sees_every_bit_and_ignores_where_arrays_live() -> None:
    state = a_state()
    on_host = jax.tree.map(np.asarray, state)
    minus_zero = state._replace(meta_optimizer=(jnp.int32(7), {"m": -np.zeros(2)}))
    renamed = state._replace(metaparameters={"alpha": jnp.array([4.6, 4.5])})
    assert leaves.digest(state) == leaves.digest(on_host)
    assert leaves.digest(state) != leaves.digest(minus_zero)
    assert leaves.digest(state) != leaves.digest(renamed)


def test_the_digest_of_names_ignores_values_and_order() -> None:
    one = {"a": np.zeros(2, np.int32), "b": np.zeros((), np.float32)}
    assert leaves.digest_of_names(one) == leaves.digest_of_names(
        {"b": np.ones((), np.float32), "a": np.ones(2, np.int32)}
    )
    for other in ({"a": one["a"]}, one | {"a": np.zeros(3, np.int32)}):
        assert leaves.digest_of_names(one) != leaves.digest_of_names(other)
