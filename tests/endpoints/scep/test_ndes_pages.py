"""The pages, as the programs read them that fetch challenges: each extractor is written after what it is known to do.

They get octets and a media type, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup

from pkiconf.endpoints.scep.pages import (
    cache_full_page,
    challenge_page,
    encoded,
    information_page,
    no_permission_page,
)

THUMBPRINT = "a656fa66ab12b4337fa2daf7cc153d9a"
CHALLENGE = "8CE317021F690069"
PAGE = challenge_page(THUMBPRINT, CHALLENGE, 60)
BODY, MEDIA_TYPE = encoded(PAGE, "utf-16")


def by_mark(body: bytes) -> str:
    """A UTF-16 decoder that believes a byte order mark, and without one takes big-endian."""
    if body.startswith(b"\xff\xfe"):
        return body[2:].decode("utf-16-le", "replace")
    return body.removeprefix(b"\xfe\xff").decode("utf-16-be", "replace")


def fleet(body: bytes) -> str:
    found = re.search(r"(?i)The enrollment challenge password is: <B> (\S*)", by_mark(body))
    return found[1] if found else ""


def manage_engine(body: bytes) -> str:
    """Tries encodings one after the other, and cuts between two literal texts."""
    begin, end = "The enrollment challenge password is: <B> ", " </B> <P> This password can be used only once"
    for encoding in ("utf-16", "utf-8", "ascii", "utf-16-be", "utf-16-le", "iso-8859-1"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if begin in text and end in text:
            return text.partition(begin)[2].partition(end)[0]
    return ""


def python_script(body: bytes) -> str:
    pieces = body.decode("UTF-16").split(">")
    for number, piece in enumerate(pieces):
        if "The enrollment challenge password is: <B" in piece:
            return pieces[number + 1].partition("<")[0].strip()
    return ""


def powershell(body: bytes) -> str:
    """Little-endian whatever the mark says, which stays in front as a character; then fragments that begin with it."""
    for fragment in re.split(r"<[^>]*>| ", body.decode("utf-16-le")):
        if found := re.match(r"^[A-F0-9]{16}", fragment):
            return found[0]
    return ""


def junos(body: bytes) -> str:
    """An HTML parser over the octets, which finds the encoding by the mark and writes tags in lower case."""
    found = re.search(
        r"The enrollment challenge password is: <b> ([A-Z0-9]+) ", str(BeautifulSoup(body, "html.parser"))
    )
    return found[1] if found else ""


def dotnet(body: bytes) -> str:
    found = re.search(r"challenge password.*?([0-9A-Fa-f]{8,64})", by_mark(body))
    return found[1] if found else ""


def by_the_end(body: bytes) -> str:
    """Takes away everything that stands behind the challenge, as it knows it, and keeps the last characters."""
    end = (
        " </B> <P> This password can be used only once and will expire within 60 minutes."
        " <P> Each enrollment requires a new challenge password."
        " You can refresh this web page to obtain a new challenge password. </P>"
        " <P ID=locPageDesc> For more information see  <A HREF=http://go.microsoft.com/fwlink/?LinkId=67852>"
        "Using Network Device Enrollment Service </A>. </P> <P></Font></Body></HTML>"
    )
    text = by_mark(body)
    return text.removesuffix(end)[-16:] if text.endswith(end) else ""


EXTRACTORS: tuple[Callable[[bytes], str], ...] = (
    fleet,
    manage_engine,
    python_script,
    powershell,
    junos,
    dotnet,
    by_the_end,
)


@pytest.mark.row("F82", "F123")
@pytest.mark.parametrize("extract", EXTRACTORS)
def test_every_extractor_finds_the_challenge(extract: Callable[[bytes], str]) -> None:
    assert extract(BODY) == CHALLENGE


@pytest.mark.parametrize("extract", EXTRACTORS)
@pytest.mark.parametrize(
    "page",
    [
        cache_full_page(5, 60),
        no_permission_page(),
        information_page("/certsrv/x/y/mscep_admin/"),
        information_page(None),
    ],
)
def test_no_extractor_finds_one_where_there_is_none(extract: Callable[[bytes], str], page: str) -> None:
    assert extract(encoded(page, "utf-16")[0]) == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda page: page.replace("<B>", "<b>"),
        lambda page: page.replace(" <P> This", "\n<P> This"),
        lambda page: page.replace(CHALLENGE, CHALLENGE.lower()),
        lambda page: page.replace("see  <A", "see <A"),
        lambda page: page.replace("is: <B>", "is:  <B>"),
        lambda page: page.replace("<B> 8CE", '<B CLASS="x"> 8CE'),
    ],
)
def test_the_extractors_are_as_strict_as_they_are_said_to_be(spoil: Callable[[str], str]) -> None:
    """Otherwise their agreement would prove nothing: each way of writing it otherwise breaks at least one of them."""
    body = encoded(spoil(PAGE), "utf-16")[0]
    assert any(extract(body) != CHALLENGE for extract in EXTRACTORS)


def test_without_its_mark_or_in_utf8_some_would_fail() -> None:
    assert fleet(BODY[2:]) == ""
    assert powershell(encoded(PAGE, "utf-8")[0]) == ""


def test_the_body_is_marked_little_endian_without_a_charset() -> None:
    assert BODY.startswith(b"\xff\xfe")
    assert BODY[2:].decode("utf-16-le") == PAGE
    assert MEDIA_TYPE == "text/html"
    assert encoded(PAGE, "utf-8") == (PAGE.encode(), "text/html; charset=utf-8")


def test_the_sentences_to_the_blank() -> None:
    assert "\n" not in PAGE
    assert "  " not in PAGE.replace("see  <A", "see <A")
    assert PAGE.isascii()
    assert (
        "<P> To complete certificate enrollment for your network device you will need the following information:"
        " <P> The thumbprint (hash value) for the CA certificate is: <B> A656FA66 AB12B433 7FA2DAF7 CC153D9A </B>"
        f" <P> The enrollment challenge password is: <B> {CHALLENGE} </B>"
        " <P> This password can be used only once and will expire within 60 minutes."
        " <P> Each enrollment requires a new challenge password."
        " You can refresh this web page to obtain a new challenge password. </P>"
    ) in PAGE
    assert "Network Device Enrollment Service" in PAGE


def test_the_thumbprint_is_found_and_stands_before_the_challenge() -> None:
    text = by_mark(BODY)
    found = re.search(r"thumbprint \(hash value\) for the CA certificate is: <B> ((?:[0-9A-F]{8} ){4})</B>", text)
    assert found is not None
    assert found[1].replace(" ", "").lower() == THUMBPRINT
    assert text.index(found[1]) < text.index("challenge password")


def test_what_programs_look_for_when_there_is_no_challenge() -> None:
    assert "The password cache is full." in cache_full_page(5, 60)
    assert (
        "You do not have sufficient permission to enroll with SCEP.  Please contact your system administrator."
        in no_permission_page()
    )


def test_text_from_outside_is_no_markup() -> None:
    assert "<script>" not in challenge_page(THUMBPRINT, "<script>", 60)
    assert "<x" not in information_page('https://pki/"><x')
