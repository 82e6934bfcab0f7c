"""The pages of Microsoft's Network Device Enrollment Service, as programs read them.

What fetches challenges looks for whole phrases with their tags: in capitals, with single blanks, without line breaks
between a sentence and the next. So each page is one line, and the phrases below may never change.
"""

from __future__ import annotations

from html import escape
from typing import Final, Literal

Encoding = Literal["utf-16", "utf-8"]

_TITLE: Final = "Network Device Enrollment Service"

# What scrapers compare, to the blank.
_NEEDED: Final = "To complete certificate enrollment for your network device you will need the following information:"
_THUMBPRINT: Final = "<P> The thumbprint (hash value) for the CA certificate is: <B> {} </B>"
_CHALLENGE: Final = "<P> The enrollment challenge password is: <B> {} </B>"
_ONCE: Final = "<P> This password can be used only once and will expire within {} minutes."
_EACH: Final = (
    "<P> Each enrollment requires a new challenge password."
    " You can refresh this web page to obtain a new challenge password. </P>"
)
# One cuts off all that follows the challenge, up to the end of the page.
_TRAILER: Final = (
    "<P ID=locPageDesc> For more information see  <A HREF=http://go.microsoft.com/fwlink/?LinkId=67852>"
    "Using Network Device Enrollment Service </A>. </P> <P></Font></Body></HTML>"
)
_FULL: Final = "The password cache is full."
_NO_PERMISSION: Final = (
    "You do not have sufficient permission to enroll with SCEP.  Please contact your system administrator."
)


def challenge_page(thumbprint: str, challenge: str, minutes: int) -> str:
    """`thumbprint` is that of the CA certificate as hexadecimal text, MD5 as Microsoft has it."""
    grouped = " ".join(thumbprint.upper()[at : at + 8] for at in range(0, len(thumbprint), 8))
    sentences = (
        f"<P> {_NEEDED}",
        _THUMBPRINT.format(grouped),
        _CHALLENGE.format(escape(challenge)),
        _ONCE.format(minutes),
        _EACH,
    )
    return _page(" ".join(sentences))


def cache_full_page(most: int, minutes: int) -> str:
    return _page(
        f"<P> {_FULL} <P> {most} passwords wait to be used. Use one of those, or come back later:"
        f" each is forgotten {minutes} minutes after it was made. </P>"
    )


def no_permission_page() -> str:
    return _page(f"<P> {_NO_PERMISSION} </P>")


def information_page(admin_page: str | None) -> str:
    """What a browser sees at the URL that devices use; `admin_page` is where challenges are to be had, if anywhere."""
    there = ""
    if admin_page is not None:
        there = (
            f' Whoever sets them up finds what they need at <A HREF="{escape(admin_page)}">{escape(admin_page)}</A>.'
        )
    return _page(f"<P> This URL is for devices that speak SCEP.{there} </P>")


def encoded(page: str, encoding: Encoding) -> tuple[bytes, str]:
    """The body and its media type. UTF-16 goes with its mark and without a charset: some scrapers decode it by the
    mark, some take little-endian for granted, and only this form is right for both."""
    if encoding == "utf-8":
        return page.encode(), "text/html; charset=utf-8"
    return b"\xff\xfe" + page.encode("utf-16-le"), "text/html"


def _page(content: str) -> str:
    return (
        f'<HTML><HEAD><TITLE>{_TITLE}</TITLE></HEAD><BODY BGCOLOR=#FFFFFF><FONT ID=locPageFont FACE="Arial">'
        "<TABLE BORDER=0 CELLSPACING=0 CELLPADDING=4 WIDTH=100% BGCOLOR=#008080><TR><TD>"
        "<FONT COLOR=#FFFFFF ID=locMSCertSrv>pkiconf</FONT></TD></TR></TABLE>"
        f"<P ID=locPageTitle> <FONT ID=locPageTitleFont><B>{_TITLE}</B></FONT> {content}"
        f" {_TRAILER}"
    )
