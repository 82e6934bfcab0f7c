"""Every URL of SCEP, spelled in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ENROLMENT: Final = "/scep/{authority}/{template}"

NDES: Final = "/certsrv/"
"""Below it paths are taken in any case, as Microsoft's service does."""

MSCEP: Final = "/certsrv/{authority}/{template}/mscep/mscep.dll"
ADMIN_PAGE: Final = "/certsrv/{authority}/{template}/mscep_admin/"


@dataclass(frozen=True, slots=True)
class SCEPURLs:
    """Those of one template. `base` is that of enrolment, without a slash at its end; the others are slugs."""

    base: str
    authority: str
    template: str

    @property
    def enrolment(self) -> str:
        return self._url(ENROLMENT)

    @property
    def mscep(self) -> str:
        """The same, where clients of Microsoft's service look for it."""
        return self._url(MSCEP)

    @property
    def admin_page(self) -> str:
        """Where MDMs fetch challenges."""
        return self._url(ADMIN_PAGE)

    def _url(self, path: str) -> str:
        return self.base + path.format(authority=self.authority, template=self.template)
