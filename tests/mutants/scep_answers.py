"""The guards of who renews, of what is proved to the end, and of what SCEP tells; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

_ENROLMENT = (
    "tests/scep/test_renewals.py",
    "tests/scep/test_enrolment.py",
    "tests/scep/test_transactions.py",
    "tests/scep/test_refusals.py",
    "tests/enrolment/test_profiles.py",
)

_INTUNE = ("tests/scep/intune/test_round_trip.py",)

SCEP_ANSWERS: tuple[Guard, ...] = (
    *guards(
        "pkiconf/scep/renewals.py",
        ("tests/scep/test_renewals.py",),
        (
            "a certificate that is renewed is this very one, octet for octet",
            "SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature) != der:",
            "SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature) == b'':",
        ),
        (
            "nothing is renewed long after its end",
            "        if self._has_ended(place, presented):\n            raise _refused",
            "        if False:\n            raise _refused",
        ),
        ("nothing is renewed before its window", "        if opens is not None and self._parts.now() < opens:"),
        (
            "a certificate is still good when its successor is reserved",
            "    if status != CertificateStatus.GOOD:\n        raise Conflict",
            "    if False:\n        raise Conflict",
        ),
    ),
    *guards(
        "pkiconf/scep/enrolment.py",
        _ENROLMENT,
        ("what does not renew is no renewal", "if request.is_renewal or not request.challenge or", "if"),
        (
            "a renewal that is refused lets no other key in",
            "or not request.challenge or not is_own_key:",
            "or not request.challenge:",
        ),
        (
            "somebody vouches for what directories take for a user",
            "            _check_vouched_for(place, request, proof)\n",
            "",
        ),
        ("each attempt has its own number", "        request = replace(request, attempt=number)\n", ""),
        ("what proves a request is used up as it is reserved", "        if proof.consume is not None:"),
        (
            "a certificate goes to the key that it is for",
            "                if request.wanted.spki not in issued.der:",
        ),
        (
            "only so many requests wait for a person",
            "            if scep_transactions.count_waiting(c, place.template_id, MOST_WAITING) >= MOST_WAITING:",
        ),
    ),
    *guards(
        "pkiconf/scep/enrolment.py",
        _INTUNE,
        (
            "another key is vouched for by the certificate that signs",
            "            self._renewals.check_vouches(place, presented, request.wanted)\n",
            "            pass\n",
        ),
        ("what Intune let in it has to let in again", " and not is_intunes and (", " and ("),
    ),
    *guards(
        "pkiconf/scep/renewals.py",
        _INTUNE,
        (
            "a certificate that vouches for another key is good",
            "            return\n        _check_good(place, presented)\n",
            "            return\n",
        ),
        (
            "a certificate that vouches for another key has not ended",
            "        if self._has_ended(place, presented):\n            raise NotProved",
            "        if False:\n            raise NotProved",
        ),
        (
            "a certificate vouches for its own names",
            'has ended")\n        _check_names(place, presented.certificate, wanted)\n',
            'has ended")\n',
        ),
    ),
    *guards(
        "pkiconf/model/scep.py",
        ("tests/scep/test_transactions.py",),
        ("a challenge is used by one attempt", '    return f"{attempt}.{transaction_id}"', "    return transaction_id"),
    ),
    *guards(
        "pkiconf/store/scep_challenges.py",
        ("tests/scep/test_challenges.py", "tests/scep/test_transactions.py"),
        (
            "an attempt gives back its own challenge alone",
            " WHERE template_id = :of AND consumed_by = :by",
            " WHERE template_id = :of AND consumed_by <> '' AND :by <> ''",
        ),
    ),
    *guards(
        "pkiconf/scep/origin.py",
        ("tests/scep/test_transactions.py",),
        (
            "two requests under one id are two",
            "{hashlib.sha256(csr).hexdigest()[:32]}",
            "{hashlib.sha256(b'').hexdigest()[:32]}",
        ),
    ),
    *guards(
        "pkiconf/scep/transactions.py",
        ("tests/scep/test_transactions.py",),
        (
            "an answer that was lost is given again for a day",
            "            return row.reserved_at <= asked_again",
            "            return True",
        ),
        ("what was refused stays so for a day", " and row.created_at <= asked_again", ""),
    ),
    *guards(
        "pkiconf/scep/asked.py",
        ("tests/scep/test_refusals.py",),
        (
            "what is wrong inside an envelope is told in the same words",
            "FailInfo.BAD_MESSAGE_CHECK, UNREADABLE, reason",
            "FailInfo.BAD_MESSAGE_CHECK, str(ex), reason",
        ),
    ),
    *guards(
        "pkiconf/scep/inquiries.py",
        ("tests/scep/test_refusals.py", "tests/scep/test_transactions.py"),
        (
            "an inquiry that cannot be read is answered as one about nothing of ours",
            '        raise _not_ours(f"the question cannot be read: {ex}") from None',
            "        raise SCEPFailure(FailInfo.BAD_MESSAGE_CHECK, str(ex)) from None",
        ),
        ("no number finds what no certificate can have", " or not 0 < asked.serial_number < 1 << 160", ""),
        (
            "a list is asked for with a certificate of ours",
            "(one for one in issuer_ids if certificates.find(c, one, number) is not None)",
            "iter(issuer_ids)",
        ),
        ("what is not signed yet is not fetched", " and stored.signature is not None", ""),
    ),
    *guards(
        "pkiconf/scep/inquiries.py",
        _INTUNE,
        (
            "what Intune was not told of nobody fetches",
            "    return let_in is None or let_in.state == IntuneState.TOLD",
            "    return True",
        ),
    ),
    *guards(
        "pkiconf/scep/envelope.py",
        ("tests/scep/test_refusals.py", "tests/scep/test_enrolment.py", "tests/scep/test_transactions.py"),
        ("a poll's envelope stays closed", "    if message.message_type == MessageType.CERT_POLL:"),
        (
            "without legacy there is no 3DES",
            "(cipher is DES3_CBC and not place.spec.legacy)",
            "False",
        ),
        (
            "single DES is read where that is declared alone",
            "(cipher is DES_CBC and not place.spec.single_des)",
            "False",
        ),
        ("nothing is sent in single DES", "DES3_CBC if opened.cipher is DES_CBC else opened.cipher", "opened.cipher"),
        (
            "an answer's signature is verified before it is sent",
            "    verify_rsa(recipient.head.spki, digest, signed, signature)\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/scep/proofs.py",
        ("tests/scep/test_proofs.py",),
        ("a challenge is not longer than any", "        if len(challenge) > _LONGEST:"),
    ),
)
