"""A certificate approved for an Apple device, and its profile, which goes to a file: both of them or neither."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from pkiconf.enrolment.grants import LIFETIME, Grants
from pkiconf.enrolment.profiles import Profile, Profiles
from pkiconf.errors import PkiconfError, Unavailable
from pkiconf.issuance.requests import Requests
from pkiconf.model.actor import Actor
from pkiconf.model.durations import Duration
from pkiconf.model.enrolment import GrantWish, Offer


class Handover:
    def __init__(self, grants: Grants, profiles: Profiles, requests: Requests) -> None:
        self._grants = grants
        self._profiles = profiles
        self._requests = requests

    def preapprove(
        self,
        wish: GrantWish,
        actor: Actor,
        put: Callable[[Callable[[], bytes]], object],
        lifetime: Duration = LIFETIME,
    ) -> Profile:
        """Approve what is wished for, and give the profile to `put`. It is called with what makes the profile (DER),
        and opens its file before it calls that: nothing is approved for a place that cannot be written to.

        Raises as `Grants.preapprove` and `Profiles.make` do, and what `put` raises. A request that was approved by then
        is declined: its link was told to nobody.
        """
        self._profiles.check_room(wish.template)
        offers: list[Offer] = []
        profiles: list[Profile] = []

        def make() -> bytes:
            offers.append(self._grants.preapprove(wish, actor, lifetime))
            profiles.append(self._profiles.make(offers[0].number, actor))
            return profiles[0].der

        try:
            put(make)
        except BaseException as ex:
            for offer in offers:
                self._take_back(offer.number, actor, ex)
            raise
        return profiles[0]

    def make(self, number: int, actor: Actor, put: Callable[[Callable[[], bytes]], object]) -> Profile:
        """Another profile of a request that waits to be claimed, given to `put` as `preapprove` does. Where that fails,
        its challenge is void."""
        profiles: list[Profile] = []

        def make() -> bytes:
            profiles.append(self._profiles.make(number, actor))
            return profiles[0].der

        try:
            put(make)
        except BaseException:
            for profile in profiles:
                with suppress(PkiconfError):  # then it takes room until it expires
                    self._profiles.take_back(profile, actor)
            raise
        return profiles[0]

    def _take_back(self, number: int, actor: Actor, why: BaseException) -> None:
        """Raises Unavailable, which says both, for a request that cannot be declined now."""
        try:
            self._requests.decline(number, "its profile could not be handed over", actor)
        except PkiconfError as ex:
            raise Unavailable(
                f"{why}; request {number} is approved all the same, and cannot be declined now: {ex.detail}",
                f"Decline it later: pkiconf request decline {number} --reason 'handed to nobody'",
            ) from why
