"""State of what acts, as bytes: what they are of is read before they are.

The state itself is pickled, and reading a pickle runs what it says: a snapshot is
trusted as code is.
"""

from __future__ import annotations

import pickle
import zlib
from typing import Any

# Another number where what is packed anywhere has changed its meaning.
FORMAT = 1


def pack(what: str, state: Any) -> bytes:
    """Pickles a state under one line that says what it is of."""
    body = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
    return f"{_title(what)}\n{zlib.crc32(body):08x}\n".encode() + body


def unpack(what: str, snapshot: bytes) -> Any:
    """The state that was packed as `what`.

    Raises:
      ValueError: it is of something else, of another version, or damaged; one line.
    """
    title, _, rest = snapshot.partition(b"\n")
    if title != _title(what).encode():
        found = title[:200].decode(errors="replace")
        raise ValueError(f"a snapshot of {_title(what)!r} is needed, not of {found!r}")
    checksum, _, body = rest.partition(b"\n")
    if checksum != f"{zlib.crc32(body):08x}".encode():
        raise ValueError(f"the snapshot of {_title(what)!r} is damaged")
    return load(body)


def load(body: bytes) -> Any:
    """What was pickled.

    Raises:
      ValueError: it cannot be read, for whatever reason; one line.
    """
    try:
        return pickle.loads(body)
    except Exception as error:  # a pickle may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the snapshot cannot be read: {reason}") from error


def _title(what: str) -> str:
    return f"{what} (format {FORMAT})"
