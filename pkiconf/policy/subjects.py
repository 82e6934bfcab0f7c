"""Whose certificate it becomes: the template's word on the subject, and the person's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pkiconf.der.distinguished_names import label
from pkiconf.errors import Refused
from pkiconf.model.names import Attribute, Name
from pkiconf.policy.overrides import set_attributes

Mode = Literal["csr", "template", "merge"]


def decide_subject(mode: Mode, fixed: Name, wanted: Name, overridden: Sequence[Attribute]) -> Name:
    """`csr`: as wanted; `template`: `fixed` alone; `merge`: `fixed`, and as wanted where it is silent.

    `overridden` is what a person set, already part of `wanted`. Raises Refused where the template fixes it otherwise:
    approving does not reach past the template, and nobody's wish is dropped in silence.
    """
    if mode == "csr":
        return wanted
    for attribute in overridden:
        if (mode == "template" or fixed.values(attribute.oid)) and attribute.value not in fixed.values(attribute.oid):
            raise Refused(
                f"subject attribute {label(attribute.oid)} cannot be overridden: the template fixes the subject",
                "Change the template's subject, or use another template",
            )
    return fixed if mode == "template" else set_attributes(wanted, fixed.attributes)
