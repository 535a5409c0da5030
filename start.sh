#!/usr/bin/env bash
# Start single-node EMQX in Docker, with TLS 1.2 on localhost:8883. ./stop.sh ends it.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
Usage: ./start.sh [--mtls] [NAME=value ...]

Starts single-node EMQX in Docker: MQTT over TLS 1.2 on localhost:8883, its Dashboard on
http://localhost:18083. What runs already and has not changed is left alone.

  --mtls   let in only clients with a certificate of the test CA (certs/client-cert.pem)

These may also be set in the environment:
  EMQX_IMAGE=emqx/emqx:5.8.9       the image; without a registry: `make image`, then
                                   EMQX_IMAGE=embedded-otp-node:otp25
  EMQX_TLS_PORT=8883               port of MQTT over TLS on 127.0.0.1
  EMQX_DASHBOARD_PORT=18083        port of the Dashboard on 127.0.0.1
  EMQX_DASHBOARD__DEFAULT_PASSWORD=admin
                                   password of the Dashboard's user admin on a new node
  EMQX_CLUSTER_NAME=docker-single  name of the cluster of one node
TEXT
}

mtls=
for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    --mtls) mtls=yes ;;
    EMQX_IMAGE=* | EMQX_TLS_PORT=* | EMQX_DASHBOARD_PORT=* | EMQX_DASHBOARD__DEFAULT_PASSWORD=* | \
      EMQX_CLUSTER_NAME=*) export "${argument?}" ;;
    *) echo "start.sh: $argument is no option; see ./start.sh --help" >&2; exit 2 ;;
  esac
done
tls_port=${EMQX_TLS_PORT:-8883}
dashboard_port=${EMQX_DASHBOARD_PORT:-18083}
cluster=${EMQX_CLUSTER_NAME:-docker-single}

# As JSON, for Ansible splits name=value at spaces.
json() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}
extra=(-e "{\"emqx_tls_port\": $(json "$tls_port"), \"emqx_dashboard_port\":
  $(json "$dashboard_port"), \"emqx_cluster_name\": $(json "$cluster")}")
if [ -n "$mtls" ]; then
  extra+=(-e '{"emqx_listeners": {"ssl": {"default": {"ssl_options":
    {"verify": "verify_peer", "fail_if_no_peer_cert": true}}}}}'
    # Whether the node is ready is tried as a client.
    -e resumption_client_cert=certs/client-cert.pem -e resumption_client_key=certs/client-key.pem)
fi

make --silent .venv/.installed
ANSIBLE_CONFIG=$PWD/ansible.cfg ANSIBLE_HOME=$PWD/.ansible PATH=$PWD/.venv/bin:$PATH \
  ansible-playbook -i inventory/docker-single playbooks/deploy.yml "${extra[@]}" || {
  echo "start.sh: nothing was started, for the reason above. Another image or port: EMQX_IMAGE=…," \
    "EMQX_TLS_PORT=…, EMQX_DASHBOARD_PORT=… (see ./start.sh --help)" >&2
  exit 1
}
ln -sfn "$cluster/emqx1/listeners.hocon" config/listeners.hocon

password='admin'
[ -z "${EMQX_DASHBOARD__DEFAULT_PASSWORD:-}" ] || password='the one you set'
test="./tls1.2-resumption-test.sh localhost:$tls_port"
[ -z "$mtls" ] || test="$test --cert certs/client-cert.pem --key certs/client-key.pem"
cat <<TEXT

Dashboard      http://localhost:$dashboard_port (user: admin, password: $password)
MQTT over TLS  localhost:$tls_port, its certificate signed by certs/ca.pem
Configuration  config/listeners.hocon
Now try        $test
TEXT
