#!/bin/sh
# Makes the files that import.yaml imports, as an openssl CA of long ago would have left them:
#   old-ca.key, old-ca.passphrase   the encrypted private key (P-256) and what opens it
#   old-ca.pem                      the self-signed certificate, 2020 to 2049
#   issued.txt                      the serial numbers it has used
#   old-ca.crl                      its last CRL: number 42 (hex 2A), one of the two certificates revoked
# Run it in this folder to make them anew. It needs openssl and nothing else.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/certs"
: > "$work/index.txt"
echo 2A > "$work/crlnumber"
echo 0A01 > "$work/serial"
cat > "$work/ca.cnf" <<END
[ca]
default_ca = old
[old]
database = $work/index.txt
serial = $work/serial
crlnumber = $work/crlnumber
new_certs_dir = $work/certs
certificate = $PWD/old-ca.pem
private_key = $PWD/old-ca.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
countryName = optional
organizationName = optional
commonName = supplied
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
END

echo "known to everybody" > old-ca.passphrase
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc -pass file:old-ca.passphrase -out old-ca.key
chmod 600 old-ca.key
openssl req -new -config "$work/ca.cnf" -key old-ca.key -passin file:old-ca.passphrase \
  -subj "/C=NL/O=Example Corp/CN=Old Corp CA" -out "$work/root.csr"
openssl ca -config "$work/ca.cnf" -batch -notext -selfsign -extensions root -in "$work/root.csr" \
  -startdate 20200101000000Z -enddate 20491231235959Z -passin file:old-ca.passphrase -out old-ca.pem

for name in www mail; do
  openssl req -new -config "$work/ca.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$name.key" \
    -subj "/CN=$name.corp.example" -addext "subjectAltName=DNS:$name.corp.example" -out "$work/$name.csr"
  openssl ca -config "$work/ca.cnf" -batch -notext -extensions leaf -in "$work/$name.csr" \
    -startdate 20250101000000Z -enddate 20450101000000Z -passin file:old-ca.passphrase -out "$work/$name.pem"
done
openssl ca -config "$work/ca.cnf" -revoke "$work/mail.pem" -crl_reason superseded -passin file:old-ca.passphrase
openssl ca -config "$work/ca.cnf" -gencrl -passin file:old-ca.passphrase -out old-ca.crl

{
  echo "# Serial numbers that the old CA has used, from its index.txt"
  cut -f 4 "$work/index.txt"
} > issued.txt
