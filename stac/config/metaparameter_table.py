"""The metaparameters, one row each.

STAC learns a metaparameter by gradient descent on the outer loss. The inner loss uses
the squash of its raw value (Algorithm 2, line 10): a sigmoid, or the sigmoid times the
outer value. A metaparameter that is not tuned has its outer value.

To add one: a row here, its outer value (a field of `Outer`), and its use in the loss,
as `hyper["name"]` in `stac/learning/losses.py` or `vtrace.py`. With `extra=True` it is
tuned where `agent.self_tuned` names it; without, STAC and STACX tune it as well.
"""

from __future__ import annotations

from typing import NamedTuple


class Metaparameter(NamedTuple):
    """One row."""

    name: str  # in `agent.self_tuned`, in the loss and in the names of metrics
    outer: str  # the field of `Outer` with its value in the outer loss
    scaled: bool  # its squash: sigmoid times the outer value, or the sigmoid alone
    initial: str = "initial_raw"  # the field of `AgentConfig` with its first raw value
    extra: bool = False  # not one of the six that the paper's main agents tune
    part_of: str = ""  # the metaparameter that it replaces where it is tuned


TABLE = (
    Metaparameter("gamma", outer="gamma", scaled=False, initial="initial_raw_gamma"),
    Metaparameter("lambda", outer="lambda_", scaled=False),
    Metaparameter("alpha", outer="alpha", scaled=False),
    Metaparameter("g_v", outer="g_v", scaled=True),
    Metaparameter("g_p", outer="g_p", scaled=True),
    Metaparameter("g_e", outer="g_e", scaled=True),
    # Sec. 4.3: two coefficients in the place of alpha, and rho bar = c bar.
    Metaparameter(
        "alpha_rho", outer="alpha", scaled=False, extra=True, part_of="alpha"
    ),
    Metaparameter("alpha_c", outer="alpha", scaled=False, extra=True, part_of="alpha"),
    Metaparameter("truncation", outer="truncation", scaled=True, extra=True),
)
# A sigmoid of 10 is 4.5e-5 from 1, and so is its slope. Beyond 17 it is 1 in float32,
# and no metagradient would ever bring it back: raw values stay within this.
RAW_LIMIT = 10.0

METAPARAMETERS = tuple(row.name for row in TABLE if not row.extra)
