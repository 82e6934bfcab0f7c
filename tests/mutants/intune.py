"""The guards of Intune, and of the HTTPS that it is asked over; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

_SERVICE = ("tests/scep/intune/test_service.py",)
_ENROLMENT = ("tests/scep/intune/test_enrolment.py", "tests/scep/intune/test_round_trip.py")
_REVOCATIONS = ("tests/scep/intune/test_revocations.py",)

INTUNE: tuple[Guard, ...] = (
    *guards(
        "pkiconf/egress/https.py",
        ("tests/egress/test_https.py",),
        ("a redirect of a named service is not followed", "        if found.status in _REDIRECTS:"),
        ("what a named service answers has a limit", "        if len(body) > limit:"),
        (
            "a named service is asked over https",
            '    if not readable or parts.scheme != "https" or not parts.hostname or parts.username is not None:',
        ),
    ),
    *guards(
        "pkiconf/scep/intune/enrolment.py",
        _ENROLMENT,
        (
            "what Intune never gave to a device counts as a wrong challenge",
            "raise NotProved(why) if verdict.code in NO_CHALLENGES else RefusedByIntune(why)",
            "raise RefusedByIntune(why)",
        ),
    ),
    *guards(
        "pkiconf/store/intune.py",
        _ENROLMENT,
        ("a request is not kept when Intune was told of it", "    _FORGET_REQUEST.count(c, key)\n", ""),
    ),
    *guards(
        "pkiconf/model/intune.py",
        _SERVICE,
        (
            "Intune's yes is Success, to the letter",
            "        return self.code == SUCCESS",
            "        return self.code.strip().lower() == SUCCESS.lower()",
        ),
    ),
    *guards(
        "pkiconf/scep/intune/answers.py",
        _SERVICE,
        (
            "an answer of Intune is a JSON object",
            "    if not isinstance(found, dict):\n        raise Unavailable(",
            "    if False:\n        raise Unavailable(",
        ),
        ("a revocation that Intune orders can be answered", "    if not isinstance(context, str) or not context:"),
        ("an answer of Intune has a code", "    if not isinstance(code, str) or not code:"),
        ("Intune's queue is a list", "    if not isinstance(listed, list):"),
        (
            "results that Intune did not take are not done with",
            '    if value is not True and not (isinstance(value, str) and value.lower() == "true"):',
        ),
    ),
    *guards(
        "pkiconf/scep/intune/tokens.py",
        _SERVICE,
        (
            "a token is not used beyond its end",
            "        return known if known is not None and self._now() < known.good_until else None",
            "        return known",
        ),
        ("a token is not used to its last second", " - _MARGIN)", ")"),
        ("a token is one line of a header", "not value.isascii() or not value.isprintable() or ", ""),
        ("what Entra refuses is no token", "    if answer.status != OK:"),
        (
            "a token says how long it is good",
            "    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds <= 0:",
        ),
    ),
    *guards(
        "pkiconf/scep/intune/discovery.py",
        _SERVICE,
        (
            "Intune's token goes to https alone",
            '    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:',
        ),
        ("what Graph refuses is no list of endpoints", "        if answer.status != OK:"),
        ("the endpoints of Intune are a list", "    if not isinstance(listed, list):"),
        (
            "a service that is missing is looked for again",
            "            self.forget()  # what is missing",
            "            #",
        ),
    ),
    *guards(
        "pkiconf/scep/intune/call.py",
        _SERVICE,
        (
            "Intune's token follows no redirect to elsewhere",
            '    return goal if places[0] == places[1] or is_intunes else ""',
            "    return goal",
        ),
        (
            "Intune's token follows a redirect over https only",
            '    if will.scheme != "https" or will.username is not None or not host:',
        ),
        (
            "a redirect that turns a POST into a GET is not followed",
            "                if ex.status not in _KEEPS_METHOD or not goal:",
            "                if not goal:",
        ),
        ("a service that breaks off is tried again once", "        if self._has_looked:"),
        (
            "a service that is gone from where it is said to be is not asked there again",
            " == unless_at:\n",
            " == 0:\n",
        ),
        ("a busy service is waited for twice", " and self._pauses < _MOST_PAUSES:", ":"),
        ("a busy service is not waited for beyond the deadline", "        if seconds >= self._deadline.left():"),
    ),
    *guards(
        "pkiconf/scep/intune/service.py",
        _SERVICE,
        (
            "while Intune gives no answers one request at a time asks",
            '            raise Unavailable("Intune gave no answer lately, and another request is asking how it is")',
            "            self._trying = threading.Lock(); self._trying.acquire()",
        ),
        ("a text of a failure notification is not too long", "description[:MOST_OF_DESCRIPTION]", "description"),
    ),
    *guards(
        "pkiconf/scep/intune/enrolment.py",
        _ENROLMENT,
        (
            "what Intune refuses is refused",
            "        if not verdict.is_success:\n            _log_refusal(request, verdict)",
            "        if False:\n            _log_refusal(request, verdict)",
        ),
        (
            "Intune hears that it was obeyed",
            "            self._send_failure(request.template_id, request.transaction_id, request.csr,"
            " HResult.ACCESS_DENIED, why)\n",
            "",
        ),
        (
            "Intune is told before the device gets its certificate",
            "            self._tell_issued(row, request, certificate)\n",
            "",
        ),
        (
            "a template without Intune delivers nothing of Intune's",
            "        if access is None:\n            raise Refused(",
            "        if False:\n            raise Refused(",
        ),
        ("what cannot be told of without its request is withdrawn", "        if csr is None:"),
        (
            "a notification that Intune did not take is a failure",
            "        if not verdict.is_success:\n            raise Unavailable(",
            "        if False:\n            raise Unavailable(",
        ),
        ("what Intune was not told of is withdrawn", "            self._withdraw(row, ex.detail)\n", ""),
        (
            "what is withdrawn is revoked",
            "            self.revocations.revoke(row.id, RevocationReason.CESSATION_OF_OPERATION, SYSTEM)",
            "            pass",
        ),
        (
            "what was interrupted is withdrawn in time",
            '        jobs.queue(c, SETTLE_JOB, job_name(certificate), "{}", now + SETTLE_SECONDS)\n',
            "",
        ),
        (
            "what was withdrawn meanwhile is not handed out",
            "                if found is None or found.state != IntuneState.TOLD:",
        ),
        (
            "Intune is not told of what is not good any more",
            "    if row.state != IntuneState.UNTOLD or row.status != CertificateStatus.GOOD:",
        ),
        (
            "Intune is not told of what it did not let in",
            "        if row is None:\n            raise Conflict(",
            "        if row is None:\n            return\n            raise Conflict(",
        ),
        (
            "a challenge that is ours does not go to Intune",
            "    return bool(challenge) and (len(challenge) > LONGEST_PASSPHRASE or not takes_others)",
            "    return bool(challenge)",
        ),
        (
            "Intune is asked from the first device on which certificates to revoke",
            '        jobs.queue_once(c, POLL_JOB, str(request.template_id), "{}", now + POLL_SECONDS)\n',
            "",
        ),
    ),
    *guards(
        "pkiconf/store/intune.py",
        (*_ENROLMENT, *_REVOCATIONS),
        (
            "a certificate is told of or withdrawn, not both",
            " AND serial = :serial AND state = 'untold'",
            " AND serial = :serial",
        ),
        ("Intune revokes what it was told of", " AND i.state = 'told'", ""),
    ),
    *guards(
        "pkiconf/scep/enrolment.py",
        _ENROLMENT,
        (
            "what Intune let in only Intune renews",
            "presented is not None and not is_intunes and (",
            "presented is not None and (",
        ),
        (
            "Intune hears when issuing fails after its yes",
            "            if not isinstance(ex, Conflict):\n",
            "            if False:\n",
        ),
        (
            "Intune hears when the template refuses after its yes",
            "                self._tell_refused(proof.after_issue, request, reason)\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/scep/intune/revocations.py",
        _REVOCATIONS,
        (
            "another tenant's Intune revokes nothing",
            "        return current is not None and current.tenant_id == access.tenant_id",
            "        return True",
        ),
        ("what Intune wants revoked and is so is a success", "            if self._is_revoked(certificate):"),
        (
            "a serial number of Intune is one",
            "    return number if 0 < number < _LARGEST_SERIAL else None",
            "    return number",
        ),
        (
            "all that waits in Intune's queue is fetched",
            "            if len(requests) < MOST_REQUESTS:",
            "            if requests or not requests:",
        ),
    ),
)
