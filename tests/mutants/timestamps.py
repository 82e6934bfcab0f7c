"""The guards of timestamps; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

TIMESTAMPS: tuple[Guard, ...] = (
    *guards(
        "pkiconf/timestamps/service.py",
        ("tests/timestamps/test_at_once.py",),
        (
            "a main loop that stamps waits for no server",
            '        if self._parts.db.dialect != "sqlite":\n            return None\n',
            "",
        ),
    ),
    *guards(
        "pkiconf/timestamps/forms.py",
        ("tests/timestamps/test_at_once.py",),
        ("a main loop signs no token with a slow key", "        if not (wait or signer.quick):"),
    ),
    *guards(
        "pkiconf/timestamps/clock_watch.py",
        ("tests/timestamps/test_at_once.py",),
        ("a main loop asks no time server", "(settings.ntp or self._drift is None)", "(self._drift is None)"),
    ),
    *guards(
        "pkiconf/timestamps/ledger.py",
        ("tests/timestamps/test_at_once.py",),
        (
            "a main loop records no token",
            'form.spec.record == "all" or form.spec.ordering or not',
            "form.spec.ordering or not",
        ),
        (
            "a main loop orders no token",
            'form.spec.record == "all" or form.spec.ordering or not',
            'form.spec.record == "all" or not',
        ),
        ("a main loop takes no numbers ahead", " or not block.serves(now.moment):", ":"),
        ("no more numbers are used than were taken ahead", "return self.left > 0 and moment", "return moment"),
        ("a block of numbers belongs to its day", " and day_of(moment) == self.day", ""),
    ),
    *guards(
        "pkiconf/timestamps/ledger.py",
        ("tests/timestamps/test_clock.py",),
        (
            "counted tokens leave behind when they were made, if not their last minute",
            " and moment < self.taken + GOOD_FOR",
            "",
        ),
        (
            "a process that ends leaves behind when it stamped last",
            "{block.day: -block.left}, block.last)",
            "{block.day: -block.left}, 0)",
        ),
    ),
    *guards(
        "pkiconf/der/timestamp.py",
        ("tests/der/test_timestamp.py", "tests/timestamps/test_tokens.py"),
        ("a timestamp request is version 1", "    if members[0].der != _VERSION_1:"),
        ("a hash that is stamped has its algorithm's length", "    if len(members[1].content) != found[1]:"),
        ("fields of a timestamp request stand once and in order", "        if place <= last:"),
        ("a request that begins as usual may still break off in its hash", "    if end > size:"),
        (
            "a nonce that becomes part of a token is DER",
            "    if not content or padded or len(content) > _LONGEST_NONCE:",
        ),
    ),
    *guards(
        "pkiconf/der/timestamp_token.py",
        ("tests/der/test_timestamp.py", "tests/der/test_timestamp_token.py", "tests/timestamps/test_tokens.py"),
        (
            "what is kept of tokens does not grow with what clients ask",
            "        if len(self._frames) >= _FRAMES:",
        ),
        (
            "certificates are in a token only when they were asked for",
            '        certificates = self.certificates if cert_req else b""',
            "        certificates = self.certificates",
        ),
        (
            "what is cut off a time is part of the accuracy",
            "accuracy.microseconds - _CUT[_digits(accuracy, ordering)]",
            "accuracy.microseconds",
        ),
        (
            "a token never says a time that has not come",
            '    behind = digits[:fraction].rstrip(b"0")',
            '    behind = (b"%06d" % (micros + 1))[:fraction].rstrip(b"0")',
        ),
    ),
    *guards(
        "pkiconf/timestamps/service.py",
        ("tests/timestamps/test_tokens.py",),
        ("a policy that is not served gets no token", "        if token is None:", "        if False:"),
        ("only declared digests are stamped", "        _check_digest(form, request)\n", ""),
    ),
    *guards(
        "pkiconf/timestamps/service.py",
        ("tests/timestamps/test_authenticode.py",),
        ("the older protocol can be switched off", "        if not form.spec.authenticode:"),
    ),
    *guards(
        "pkiconf/timestamps/forms.py",
        ("tests/timestamps/test_tokens.py",),
        ("an authority that was retired stamps no more", 'row.lifecycle != "active"', "False"),
        ("timestamps are served where they are enabled", "        if not spec.enabled:"),
        (
            "a changed declaration holds for the next token",
            "        if known is None or known[0] != row.generation:",
            "        if known is None:",
        ),
        (
            "a token is signed with the certificate that is good now",
            " or known[1].signer is not signer:",
            ":",
        ),
    ),
    *guards(
        "pkiconf/timestamps/ledger.py",
        ("tests/timestamps/test_ledger.py",),
        ("each token is recorded", "kept = stamped if one_by_one else None", "kept = None"),
    ),
    *guards(
        "pkiconf/store/timestamps.py",
        ("tests/timestamps/test_ledger.py",),
        ("counts of several days are locked in one order", "in sorted(more.items()):", "in more.items():"),
    ),
    *guards(
        "pkiconf/timestamps/recording.py",
        ("tests/timestamps/test_recording.py", "tests/timestamps/test_ledger.py"),
        ("ordered tokens have times of their own", "            moments[place] = moment\n", ""),
        (
            "no ordered token says an earlier time than its request came at",
            "        latest = max(moments[place] for place in places)",
            "        latest = min(moments[place] for place in places)",
        ),
        (
            "a token that cannot be recorded takes no other with it",
            "            if len(group) > 1 and isinstance(error, PkiconfError) and _concerns_one(error):",
        ),
        (
            "a database that cannot be written is not asked again for each token",
            "    return isinstance(error, ClockUnsure) or not isinstance(error, Unavailable)",
            "    return True",
        ),
    ),
    *guards(
        "pkiconf/timestamps/recording.py",
        ("tests/timestamps/test_clock.py", "tests/timestamps/test_recording.py"),
        ("an ordered token is not of the future", "            wanted[place].now.check(moment)\n", ""),
    ),
    *guards(
        "pkiconf/timestamps/clock_watch.py",
        ("tests/timestamps/test_clock.py",),
        ("a clock that goes back makes no timestamps", "            if back > limit:"),
        (
            "a clock is not earlier than what was stamped before a restart",
            "                self._latest = max(self._latest, self._stamped())\n",
            "",
        ),
        (
            "a clock that most servers contradict makes no timestamps",
            "        if off is None or off > limit:",
            "        if off is None:",
        ),
        (
            "what the clock moved by itself counts",
            "        return verdict.bound + abs(self._timepiece.wall() - self._timepiece.steady() - verdict.drift)",
            "        return verdict.bound",
        ),
        (
            "an accuracy that is finer than the tolerance wins",
            "error or settings.tolerance.microseconds)",
            "settings.tolerance.microseconds)",
        ),
    ),
    *guards(
        "pkiconf/policy/time_source.py",
        ("tests/policy/test_time_source.py",),
        ("most of the declared servers have to agree", "    return servers // 2 + 1", "    return 1"),
    ),
    *guards(
        "pkiconf/egress/ntp.py",
        ("tests/egress/test_ntp.py",),
        (
            "a resolver that is silent is not waited for",
            "        if found.done():",
            "        if found.exception() is None or found.done():",
        ),
        ("an answer of a time server is to our question", " or packet[24:32] != asked.cookie", ""),
        ("a server that does not know the time is not believed", " or first >> 6 == _UNSYNCHRONIZED", ""),
        ("times that contradict each other are not believed", "    if left < arrived or delay < 0:"),
    ),
)
