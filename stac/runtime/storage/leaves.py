"""A state as named arrays on the host, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from stac.types import Tree

Leaves = dict[str, np.ndarray]  # {"params/torso/w": array, …}


def named(tree: Tree) -> Leaves:
    """Flattens to {"params/torso/w": array} on the host, in the tree's own order."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    if len(set(names)) != len(names):
        raise ValueError("two leaves of the state have one name")
    leaves = jax.device_get([leaf for _, leaf in paths])
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """`metaparameters/gamma is float32 [2] there, absent here`; empty where none is."""
    for name in sorted(there.keys() | here.keys()):
        old, new = (
            describe(leaves[name]) if name in leaves else "absent"
            for leaves in (there, here)
        )
        if old != new:
            return f"{name} is {old} there, {new} here"
    return ""


def describe(leaf: Any) -> str:
    """`float32 [3, 4]`; of anything with a dtype and a shape."""
    return f"{np.dtype(leaf.dtype).name} {list(leaf.shape)}"


def pack(blobs: Mapping[str, bytes]) -> Leaves:
    """Bytes by name as uint8 arrays; one byte longer, for Orbax saves no empty ones."""
    return {name: np.frombuffer(blob + b"\0", np.uint8) for name, blob in blobs.items()}


def unpack(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Undoes `pack`."""
    return {name: array.tobytes()[:-1] for name, array in arrays.items()}
