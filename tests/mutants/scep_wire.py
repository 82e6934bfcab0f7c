"""The guards of SCEP's messages, transactions and renewals; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

SCEP_WIRE: tuple[Guard, ...] = (
    *guards(
        "pkiconf/scep/renewals.py",
        ("tests/scep/test_renewals.py",),
        ("a certificate renews its own template alone", "    if presented.template_id != place.template_id:"),
        ("a revoked certificate renews nothing", "    if presented.row.status != CertificateStatus.GOOD:"),
        ("renewal can be switched off", "        if not renewal.enabled:"),
        ("a renewal keeps to the names of its certificate", "    if beyond:"),
        (
            "names that another key asks for are told to nobody",
            "        if not is_same_key(wanted.spki, certificate.spki):",
        ),
    ),
    *guards(
        "pkiconf/scep/asked.py",
        ("tests/scep/test_renewals.py", "tests/scep/test_refusals.py"),
        ("a renewal is signed by a certificate of ours", "    if is_renewal:"),
        (
            "a renewal takes nobody else's transaction",
            " and row.signer_spki_sha256 == question.signer_sha256\n    return",
            "\n    return",
        ),
        ("a message is signed by the key that it asks for", "    if not is_same_key(wanted.spki, opened.signer.spki):"),
    ),
    *guards(
        "pkiconf/scep/access.py",
        ("tests/scep/test_terms.py", "tests/endpoints/scep/test_challenge_enrolment_http.py"),
        (
            "devices come from listed networks",
            "    if not is_allowed_from(terms.enrolment_networks, find_address(client_address)):",
        ),
        (
            "challenges are fetched from listed networks",
            "    if not is_allowed_from(terms.challenge_networks, find_address(client_address)):",
        ),
    ),
    *guards(
        "pkiconf/scep/transactions.py",
        ("tests/scep/test_transactions.py",),
        ("a transaction's id is for one request", "    if not is_same(row, question):"),
    ),
    *guards(
        "pkiconf/scep/inquiries.py",
        ("tests/scep/test_transactions.py",),
        (
            "a poll is answered to the key that began",
            "        if row is None or row.signer_spki_sha256 != hashlib.sha256(opened.signer.spki).digest():",
            "        if row is None:",
        ),
    ),
    *guards(
        "pkiconf/scep/envelope.py",
        ("tests/scep/test_refusals.py",),
        (
            "without legacy there is no SHA-1",
            " or (digest is Digest.SHA1 and not place.spec.legacy):",
            ":",
        ),
        ("a signature is verified", "        verify_signer(message.signer, message.content, signer.spki)\n", ""),
    ),
    *guards(
        "pkiconf/der/enveloped_data.py",
        ("tests/der/test_enveloped_data.py",),
        (
            "a content key of a wrong length is replaced",
            "    key = (random_key[: cipher.key_size], key)[len(key) == cipher.key_size]\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/der/ber.py",
        ("tests/der/test_ber.py",),
        ("a bomb of BER is refused", "        if depth > DEPTH_LIMIT or self._seen > MOST_ELEMENTS:"),
    ),
    *guards(
        "pkiconf/endpoints/scep/operations.py",
        ("tests/endpoints/scep/test_operations_http.py",),
        ("an access list is asked", "        check_may_enrol(terms, req.context.client)\n", ""),
    ),
)
