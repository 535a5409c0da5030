#!/usr/bin/env bash
# End what ./start.sh started, and remove it.
set -euo pipefail
cd "$(dirname "$0")"

case ${1:-} in
  '') ;;
  -h | --help) echo "Usage: ./stop.sh   (EMQX_CLUSTER_NAME as for ./start.sh)"; exit 0 ;;
  *) echo "stop.sh: $1 is no option; see ./stop.sh --help" >&2; exit 2 ;;
esac
cluster=${EMQX_CLUSTER_NAME:-docker-single}
case $cluster in
  *[!A-Za-z0-9_.-]*) echo "stop.sh: \"$cluster\" is no name of a cluster" >&2; exit 2 ;;
esac
make --no-print-directory destroy INVENTORY=inventory/docker-single \
  EXTRA="-e emqx_cluster_name=$cluster"
# Named by start.sh, and leading nowhere now.
[ "$(readlink config/listeners.hocon || true)" != "$cluster/emqx1/listeners.hocon" ] ||
  rm -f config/listeners.hocon
