"""A request's path as logs may have it."""

from __future__ import annotations

from typing import Final

import falcon

LONGEST: Final = 1024
"""Characters: lines of several processes stay whole on a pipe."""

_SECRET: Final = frozenset({"claim", "profile"})
"""First segments of paths that hold all that is needed to get a certificate."""


def loggable_path(req: falcon.Request) -> str:
    """The path, cut off where it is long; without what nobody but its holder may know. Log its `repr`: a client can put
    a whole line into it."""
    first = req.path.lstrip("/").partition("/")[0]
    return f"/{first}/..." if first.lower() in _SECRET else req.path[:LONGEST]
