#!/usr/bin/env bash
# As in EMQX's image: a node that nobody named is emqx at this container's address.
set -euo pipefail

if [ -z "${EMQX_NODE_NAME:-}" ] && [ -z "${EMQX_NODE__NAME:-}" ] && [ -z "${EMQX_HOST:-}" ]; then
  # Without a network there is no address.
  address=$(hostname -i 2>/dev/null || true)
  export EMQX_HOST="${address%% *}"
  : "${EMQX_HOST:=127.0.0.1}"
fi

exec "$@"
