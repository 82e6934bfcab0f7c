"""What was changed of a request when it was approved, as its row and the audit log have it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pkiconf.der.names import general_name_text
from pkiconf.errors import Conflict
from pkiconf.model.request import Overrides
from pkiconf.store.requests import RequestRow


def check_same_changes(row: RequestRow, overrides: Overrides) -> None:
    """Signing again gives what was made; who asks for something else is told. Raises Conflict."""
    wished = overrides_record(overrides)
    if wished and wished != json.loads(row.overrides or "{}"):
        raise Conflict(
            f"request {row.id} is {row.state} already, with other changes than these",
            "For another certificate, submit the CSR again",
        )


def overrides_record(overrides: Overrides) -> dict[str, Any]:
    """What was changed at signing, for the request's row and the audit log; without what was left alone."""
    written: dict[str, Any] = {}
    if overrides.set_subject:
        written["set_subject"] = [asdict(attribute) for attribute in overrides.set_subject]
    for field in ("add_sans", "remove_sans"):
        if names := getattr(overrides, field):
            written[field] = [general_name_text(name) for name in names]
    if overrides.days is not None:
        written["days"] = overrides.days
    for field in ("not_before", "not_after"):
        moment: datetime | None = getattr(overrides, field)
        if moment is not None:
            written[field] = moment.isoformat()
    return written
