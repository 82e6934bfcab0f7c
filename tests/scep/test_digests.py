"""What is stored of a secret is bound to its template and its purpose: a row that was moved lets nobody in."""

from __future__ import annotations

from itertools import pairwise, product

from sqlalchemy import text

from pkiconf.scep.digests import Purpose, digest_of
from pkiconf.steps import Step
from tests.scep.place import declared
from tests.world import OPERATOR, World

OPEN = "{ enabled: true, challenges: true }"
TWO = f"{OPEN}\n  - {{ name: other, authority: issuing, scep: {OPEN} }}"


def test_a_challenge_that_was_moved_to_another_template_is_none_of_it(world: World) -> None:
    terms, challenges = declared(world, TWO), world.services.scep.challenges
    other = world.services.scep.terms.find("issuing", "other")
    assert other is not None
    told = challenges.create(terms.template_id, OPERATOR).reveal().decode()

    def move(template_id: int) -> None:
        statement = text("UPDATE scep_challenge SET template_id = :of")
        world.parts.db.write(Step.SCEP_CHALLENGE_CREATE, lambda c: c.execute(statement, {"of": template_id}))

    move(other.template_id)
    assert challenges.find(other.template_id, told) is None
    assert challenges.find(terms.template_id, told) is None
    move(terms.template_id)
    assert challenges.find(terms.template_id, told) is not None


def test_no_two_templates_and_purposes_share_a_digest(sqlite_world: World) -> None:
    places = product(Purpose, (1, 2, 256))
    digests = sorted(digest_of(sqlite_world.parts, purpose, number, b"secret") for purpose, number in places)
    assert all(one != other for one, other in pairwise(digests))
    assert {len(digest) for digest in digests} == {32}
