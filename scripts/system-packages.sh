#!/bin/sh
# Programs that only tests need, as judges of what we make: openssl and GnuTLS's certtool.
# Installs what is missing where it can (Debian and its kin, as root), and says plainly what it could not do.
set -u

missing=""
need() { # program package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need openssl openssl
need certtool gnutls-bin
need curl curl

[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing for the tests:$missing"
    apt-get update -qq >/dev/null 2>&1
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1
fi

left=""
missing=""
need openssl openssl
need certtool gnutls-bin
need curl curl
left="$missing"
if [ -n "$left" ]; then
    echo "not installed, so the tests that need it will say so:$left"
    echo "install it with your system's package manager, then run the tests again"
fi
exit 0
