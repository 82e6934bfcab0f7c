"""What a command's exit status means; scripts and CI rely on these for ever."""

from __future__ import annotations

from enum import IntEnum

from pkiconf.errors import Conflict, PkiconfError, Refused


class ExitCode(IntEnum):
    DONE = 0
    ERROR = 1
    CHANGES = 2  # `plan`, `apply --check`, `db status`: there is something to do
    WAITING = 3  # for a certificate, a node, an approval
    REFUSED = 4  # consent missing, plan out of date, policy
    USAGE = 64


def exit_code_of(error: PkiconfError) -> ExitCode:
    return ExitCode.REFUSED if isinstance(error, Refused | Conflict) else ExitCode.ERROR
