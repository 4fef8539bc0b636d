#!/bin/sh
# Makes the certificates of this directory: a CA, a server's certificate of it, one that expired, a client's, and one that
# signs itself and calls itself a CA. Good from 2020 until 2100. The keys are for tests only and open nothing.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem ./*.key
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/cnf" <<END
[ca]
default_ca = here
[here]
new_certs_dir = $work
database = $work/index
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
[selfca]
basicConstraints = critical,CA:TRUE
subjectAltName = DNS:localhost,IP:127.0.0.1
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
END
: > "$work/index"
echo 'unique_subject = no' > "$work/index.attr"

# make NAME SECTION START END [how it is signed]
make() {
    name=$1 section=$2 start=$3 end=$4
    shift 4
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=tracemark test $name" -out "$work/csr"
    openssl ca -batch -notext -config "$work/cnf" -extensions "$section" -startdate "$start" -enddate "$end" \
        -in "$work/csr" -out "$name.pem" "$@"
}
from=20200101000000Z until=21000101000000Z
make ca authority $from $until -selfsign -keyfile ca.key
make server server $from $until -cert ca.pem -keyfile ca.key
make expired server 20000101000000Z 20010101000000Z -cert ca.pem -keyfile ca.key
make client client $from $until -cert ca.pem -keyfile ca.key
make selfca selfca $from $until -selfsign -keyfile selfca.key
cat client.key >> client.pem
rm ca.key client.key
