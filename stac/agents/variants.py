"""The agents of the paper, one row each: the number of heads, and what is self-tuned.

IMPALA is STACX with one head and nothing self-tuned. Fig. 2(a) compares these four
rows; the bars of Fig. 2(b) are the last two with a smaller `self_tuned`.
"""

from __future__ import annotations

from typing import NamedTuple

from stac.config import METAPARAMETERS


class Variant(NamedTuple):
    """One row."""

    heads: int  # P: the acting head, and the auxiliary ones
    self_tuned: tuple[str, ...]  # names of stac.config.metaparameter_table


VARIANTS: dict[str, Variant] = {
    "impala": Variant(heads=1, self_tuned=()),
    "impala_aux": Variant(heads=3, self_tuned=()),
    "stac": Variant(heads=1, self_tuned=METAPARAMETERS),
    "stacx": Variant(heads=3, self_tuned=METAPARAMETERS),
}
