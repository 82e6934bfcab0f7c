"""The kind of application every protocol mounts itself on."""

from __future__ import annotations

from typing import TypeAlias

import falcon


class Response(falcon.Response):
    def add_line(self, name: str, value: str) -> None:
        """One more header line. `append_header` joins values of one name with commas, which some clients cannot take
        apart again where the values are links."""
        if self._extra_headers is None:
            self._extra_headers = []
        self._extra_headers.append((name, value))


App: TypeAlias = "falcon.App[falcon.Request, Response]"
