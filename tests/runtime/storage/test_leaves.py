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
