#!/bin/sh
# Programs that only tests need: judges of what we make (openssl, GnuTLS's certtool) and strangers that we serve (curl,
# the ACME clients lego and dehydrated, the SCEP clients of strongSwan, micromdm and certmonger, osslsigncode, Java's
# jarsigner, which is the largest by far, the web servers nginx and Apache with a clock of their own; certbot, Caddy and
# Traefik come with pip). Hosts of the tests' own need iproute2 and util-linux. Installs what is missing where it can
# (Debian and its kin, as root), and says plainly what it could not do.
set -u
PATH="$PATH:/usr/sbin:/sbin"

needed() { # the packages whose programs are missing
    while read -r program package; do
        command -v "$program" >/dev/null 2>&1 || printf ' %s' "$package"
    done <<END
openssl openssl
certtool gnutls-bin
curl curl
lego lego
osslsigncode osslsigncode
dehydrated dehydrated
jarsigner default-jdk-headless
pki strongswan-pki libstrongswan-standard-plugins libstrongswan-extra-plugins
scepclient scep
certmonger certmonger
dbus-run-session dbus-daemon
nginx nginx
apache2 apache2-bin
faketime faketime
ip iproute2
nsenter util-linux
END
}

missing=$(needed)
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing for the tests:$missing"
    apt-get update -qq >/dev/null 2>&1
    # One by one, so that a package that this system has not keeps no other away.
    for package in $missing; do
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" </dev/null >/dev/null 2>&1
    done
fi

left=$(needed)
if [ -n "$left" ]; then
    echo "not installed, so the tests that need it will say so:$left"
    echo "install it with your system's package manager, then run the tests again"
fi
exit 0
