"""The guards of what is approved in advance: links, claims, profiles and mail; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

ENROLMENT: tuple[Guard, ...] = (
    *guards(
        "pkiconf/enrolment/handover.py",
        ("tests/enrolment/test_handover.py",),
        (
            "a request whose profile could not be handed over is declined",
            "                self._take_back(offer.number, actor, ex)\n",
            "                pass\n",
        ),
        (
            "a profile that was handed to nobody takes no room",
            "                    self._profiles.take_back(profile, actor)\n",
            "                    pass\n",
        ),
        (
            "nothing is approved where no profile can be made",
            "        self._profiles.check_room(wish.template)\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/cli/preapproval.py",
        ("tests/cli/test_preapproval.py",),
        (
            "a profile that is handed over with its approval is its owner's alone",
            "write(make()), out, private=True), lifetime",
            "write(make()), out), lifetime",
        ),
        (
            "a profile that is made for the operator is its owner's alone",
            "write(make()), out, private=True)\n        )\n    click.echo(f",
            "write(make()), out)\n        )\n    click.echo(f",
        ),
    ),
    *guards(
        "pkiconf/enrolment/claims.py",
        ("tests/enrolment/test_claims.py", "tests/enrolment/test_profiles.py"),
        (
            "a link leads where it was made for",
            "    if grant.deliver != deliver:",
        ),
        (
            "a link ends when it has expired",
            "        case RequestState.AWAITING_CLAIM if now < claim.expires_at:",
            "        case RequestState.AWAITING_CLAIM:",
        ),
        ("a CSR names what was approved and nothing else", "        _check_names(parsed, claim.wish)\n", ""),
        (
            "a subject that was not approved is refused",
            "    if any((attribute.oid, attribute.value) not in approved for attribute in csr.subject.attributes):",
        ),
        ("an alternative name that was not approved is refused", "        if comparable(name) not in allowed:"),
        (
            "nobody gets the certificate that somebody else was faster to claim",
            "        if isinstance(outcome, Issued) and parse_certificate(outcome.der).spki != parsed.spki:",
        ),
        ("the link is used up with the certificate", "            grants.claim(c, claim.number)\n", ""),
    ),
    *guards(
        "pkiconf/enrolment/profiles.py",
        ("tests/enrolment/test_profiles.py", "tests/enrolment/test_handover.py"),
        ("a link is good for an hour from its first fetch", "        if ends <= now:"),
        (
            "no profile is made of what is declined meanwhile",
            "            check_open(_claim(c, claim.number), self._parts.now())\n",
            "",
        ),
        (
            "a profile that is handed over ends as a challenge has to",
            "min(claim.expires_at, self._parts.now() + LONGEST)",
            "claim.expires_at",
        ),
        (
            "a challenge whose profile was not signed takes no room",
            "                self._challenges.withdraw(template_id, challenge, by)\n",
            "                pass\n",
        ),
        ("a challenge does not outlive its link", "        return min(ends, claim.expires_at)", "        return ends"),
        (
            "a link is not fetched without end",
            "            if not grants.fetch(c, claim.grant, now, MOST_FETCHES):",
        ),
        (
            "a challenge is bound to the approved names",
            "            BoundNames(wish.subject, wish.sans),\n",
            "            None,\n",
        ),
        (
            "a challenge belongs to its request",
            "            claim.number,\n            beside",
            "            None,\n            beside",
        ),
    ),
    *guards(
        "pkiconf/enrolment/grants.py",
        ("tests/enrolment/test_grants.py", "tests/enrolment/test_profiles.py", "tests/enrolment/test_outbox.py"),
        ("challenges end when the link is sent again", "            scep_challenges.void(c, number, now)\n", ""),
        ("what is sent again meanwhile does not end", "            if current.token_number != grant.token_number:"),
        ("a link does not last for ever", "        if lifetime.seconds > LONGEST.seconds:"),
        ("what is decided is not approved again", "        if row.state != RequestState.PENDING:"),
        ("what is not approved is not sent", "        if row.state == RequestState.PENDING:"),
    ),
    *guards(
        "pkiconf/enrolment/terms.py",
        ("tests/enrolment/test_grants.py", "tests/enrolment/test_profiles.py"),
        ("what could not be issued is not approved", "    pipeline.check(_trial(wish, template, place, actor))\n", ""),
        ("mail needs a server", "    if wish.email is not None and place.settings.mail is None:"),
        ("a device can ask for the names", "    expressible.alternative_names(wish.sans)\n", ""),
        ("a recipient is an address", "    check_mailbox(address)\n", ""),
    ),
    *guards(
        "pkiconf/enrolment/outbox.py",
        ("tests/enrolment/test_outbox.py",),
        ("a message whose link has ended is not sent", "        if self._is_void(due):"),
        (
            "a message tells the link that stands",
            "            or due.grant.token_number != due.row.token_number\n",
            "",
        ),
        (
            "a server that is down is left alone for a while",
            "        if self._down is not None and self._down[0] <= self._parts.now() < self._down[0] + PAUSE:",
        ),
    ),
    *guards(
        "pkiconf/scep/challenges.py",
        ("tests/enrolment/test_profiles.py",),
        (
            "a challenge uses up the request that it was made for",
            "        if challenge.row.grant_id is not None:",
        ),
    ),
    *guards(
        "pkiconf/issuance/requests.py",
        ("tests/enrolment/test_claims.py", "tests/scep/test_transactions.py"),
        (
            "what was approved beforehand and not signed waits for its claim again",
            "        if grants.find_grant(c, row.id) is not None:",
        ),
        (
            "the challenge of what was approved beforehand and not signed is good again",
            "    scep_challenges.release_claimed(c, row.id)\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/issuance/requests.py",
        ("tests/enrolment/test_profiles.py",),
        (
            "declining waits for a profile that is being fetched",
            "            grants.lock(c, number)",
            "            pass",
        ),
    ),
    *guards(
        "pkiconf/egress/mail.py",
        ("tests/egress/test_mail.py",),
        (
            "a password is sent inside TLS only",
            ' and server.security != "none":',
            ":",
        ),
        ("STARTTLS is not optional", '    if server.security == "starttls":'),
    ),
    *guards(
        "pkiconf/endpoints/paths.py",
        ("tests/endpoints/test_links_http.py",),
        (
            "no log tells a link",
            '    return f"/{first}/..." if first.lower() in _SECRET else req.path[:LONGEST]',
            "    return req.path[:LONGEST]",
        ),
    ),
)
