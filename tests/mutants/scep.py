"""The guards of what lets devices in over SCEP; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

SCEP: tuple[Guard, ...] = (
    *guards(
        "pkiconf/scep/proofs.py",
        ("tests/scep/test_proofs.py",),
        (
            "a request without a challenge is refused unless the template says otherwise",
            '    raise NotProved("there is no challenge in it")',
            '    return Proof(ProofMethod.NONE, "")',
        ),
        (
            "a client may be wrong only so often",
            "        if self.tries.are_used_up(terms, request.client_address, failures):",
        ),
        ("a wrong challenge is counted", "            self.tries.record(terms, request.client_address)\n", ""),
        ("challenges are taken only where that is declared", "        if not terms.spec.takes_challenges:"),
        ("a challenge that was used, has expired or is spent lets nobody in", '        if state != "unused":'),
        ("a bound challenge is good for its names alone", "        if wrong:"),
        ("wrong names are counted", "            self._challenges.record_try(found)\n", ""),
        ("a passphrase is taken only where one is declared", "        if terms.spec.static_passphrase is None:"),
    ),
    *guards(
        "pkiconf/scep/proofs.py",
        ("tests/scep/test_kept.py",),
        (
            "a passphrase that is kept is looked at again where it counts",
            "            consume=lambda c: self._passphrases.check_accepted(c, found),\n",
            "",
        ),
        (
            "what was read of tries counts",
            "        if self.tries.are_used_up(terms, request.client_address, failures):",
            "        if failures is None and self.tries.are_used_up(terms, request.client_address):",
        ),
    ),
    *guards(
        "pkiconf/scep/enrolment.py",
        ("tests/scep/test_kept.py",),
        (
            "a passphrase that was replaced is forgotten",
            "                self._proofs.look_again(place.terms)",
            "                continue",
        ),
        (
            "a passphrase that is kept is looked at again where it is refused something",
            "            self._proofs.confirm(proof)  # why it is refused is for nobody who has an old passphrase\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/store/scep_challenges.py",
        ("tests/scep/test_challenges.py",),
        (
            "a challenge is used once",
            " WHERE id = :id AND consumed_at IS NULL AND expires_at",
            " WHERE id = :id AND expires_at",
        ),
        (
            "a challenge that expires meanwhile is not used",
            " AND expires_at > :now AND tries < :most",
            " AND tries < :most",
        ),
        ("a challenge that is spent is not used", " AND expires_at > :now AND tries < :most", " AND expires_at > :now"),
    ),
    *guards(
        "pkiconf/scep/challenges.py",
        ("tests/scep/test_challenges.py",),
        (
            "only so many challenges wait",
            "            if _is_full(c, terms, now):",
        ),
        ("no challenge is good for ever", "        if ttl is not None and not timedelta(seconds=1) <= ttl <= LONGEST:"),
        (
            "no challenge is made where none is taken",
            "        if not terms.enabled or not terms.spec.takes_challenges:",
        ),
    ),
    *guards(
        "pkiconf/scep/digests.py",
        ("tests/scep/test_digests.py",),
        ("a challenge belongs to its template", 'template_id.to_bytes(8, "big") + secret', "secret"),
        ("a secret is good for its purpose", "parts.audit.mac(purpose.value, ", 'parts.audit.mac(b"", '),
    ),
    *guards(
        "pkiconf/scep/passphrases.py",
        ("tests/scep/test_passphrases.py", "tests/endpoints/scep/test_ndes_http.py"),
        (
            "the page's user name is compared",
            "        return found is not None and same_name",
            "        return found is not None",
        ),
        (
            "the page's password is compared",
            "        return found is not None and same_name",
            "        return same_name",
        ),
        ("only random passphrases are rotated", "        if declared.secret is not None:"),
    ),
    *guards(
        "pkiconf/policy/scep.py",
        ("tests/policy/test_scep.py",),
        ("a bound proof is for exactly its alternative names", "        if asked != granted:"),
        (
            "a bound proof is for exactly its subject",
            "        if _attributes(subject) != _attributes(bound.subject):",
        ),
        ("a subject says nothing beyond bound names", "        if beyond:"),
        ("an IPv6 client is a network", "    if isinstance(address, ipaddress.IPv6Address):"),
    ),
    *guards(
        "pkiconf/policy/scep.py",
        ("tests/scep/test_terms.py", "tests/policy/test_scep.py"),
        (
            "an access list lets nobody in whose address is not known",
            "    return address is not None and any(",
            "    return address is None or any(",
        ),
    ),
    *guards(
        "pkiconf/endpoints/scep/ndes.py",
        ("tests/endpoints/scep/test_ndes_http.py",),
        ("the page keeps its access list", "        check_may_fetch(terms, req.context.client)\n", ""),
        ("the page is given over TLS", "        _check_secure(req)\n", ""),
        ("wrong passwords of the page are limited", "            if scep.tries.are_used_up(terms, client):"),
        (
            "the page is there only where it is declared",
            "        if terms is None or not terms.spec.ndes.enabled:",
            "        if terms is None:",
        ),
    ),
    *guards(
        "pkiconf/endpoints/client_address.py",
        ("tests/endpoints/scep/test_ndes_http.py", "tests/endpoints/test_client_address.py"),
        (
            "X-Forwarded-Proto counts from trusted proxies alone",
            "        if address is None or not self._is_trusted(address):",
        ),
    ),
    *guards(
        "pkiconf/endpoints/scep/pages.py",
        ("tests/endpoints/scep/test_ndes_pages.py",),
        ("the page has a byte order mark", 'return b"\\xff\\xfe" + page', 'return b"" + page'),
    ),
    *guards(
        "pkiconf/spec/scep.py",
        ("tests/spec/test_refused.py", "tests/reconciler/test_plans.py", "tests/scep/test_terms.py"),
        (
            "SCEP that lets nobody in is refused",
            "        if written or not self.enabled or self.lets_in:\n            return\n",
            "        return\n",
        ),
        (
            "a page that nobody could open is refused",
            "        if not written and self.enabled and self.basic_auth is None:",
        ),
        ("a passphrase has a length", "    if not SHORTEST_PASSPHRASE <= len(text) <= LONGEST_PASSPHRASE:"),
    ),
    *guards(
        "pkiconf/reconciler/kinds/template_scep.py",
        ("tests/scep", "tests/reconciler/test_scep_secrets.py"),
        (
            "a secret is the one that was planned with",
            "        if _at(act.wish.explicit, path) != _at(act.after, path):",
        ),
    ),
)
