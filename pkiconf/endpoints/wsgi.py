"""The kind of application every protocol mounts itself on."""

from __future__ import annotations

from typing import TypeAlias

import falcon

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"
