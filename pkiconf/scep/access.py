"""From where SCEP may be used (F130). Asked before anything that a client sent is looked at."""

from __future__ import annotations

from pkiconf.errors import Refused
from pkiconf.policy.scep import find_address, is_allowed_from
from pkiconf.scep.terms import SCEPTerms


def check_may_enrol(terms: SCEPTerms, client_address: str) -> None:
    """`client_address` as trusted proxies say, never as the client does. Raises Refused."""
    if not is_allowed_from(terms.enrolment_networks, find_address(client_address)):
        raise Refused("SCEP is not offered to your address")


def check_may_fetch(terms: SCEPTerms, client_address: str) -> None:
    """For the page of challenges. Raises Refused."""
    if not is_allowed_from(terms.challenge_networks, find_address(client_address)):
        raise Refused("this page is not offered to your address")
