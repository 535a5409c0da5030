"""What is claimed of this project's speed, and by which ratio each claim is judged."""
from __future__ import annotations

from collections.abc import Mapping

from bench.arithmetic import Claim, Sample

WITNESSED, BARE = "witnessed engine, resumed", "bare engine, resumed"
WITNESSED_FULL, SSL_SOCKET = "witnessed engine, full", "Python ssl socket, resumed"
S_TIME, S_TIME_NEW = "openssl s_time -reuse", "openssl s_time -new"
STRSCLNT, STRSCLNT_FULL = "NSS strsclnt, resumed", "NSS strsclnt -N, full"
SHELL, SCRIPT, MATRIX = "shell, s_client by pair", "tls1.2-resumption-test.sh", "matrix, 3 nodes"
GNUTLS, SSLYZE, PROBE_ONE = "gnutls-cli --resume", "sslyze --resum", "probe, 1 node"
PROBE, EMPTY, VERIFY = "probe, 3 nodes", "an empty playbook", "ansible-playbook verify.yml"


def matrix_of(nodes: int) -> str:
    """Return the name of the matrix of so many nodes."""
    return f"matrix, {nodes} nodes"


def _rate(measured: Mapping[str, Sample]) -> float:
    return measured[WITNESSED].per_second / measured[S_TIME].per_second


def _cpu(measured: Mapping[str, Sample]) -> float:
    return measured[WITNESSED].cpu_us / measured[S_TIME].cpu_us


def _evidence(measured: Mapping[str, Sample]) -> float:
    return measured[WITNESSED].cpu_us / measured[BARE].cpu_us


def _matrix(measured: Mapping[str, Sample]) -> float:
    return measured[SHELL].wall_s / measured[MATRIX].wall_s


def _one_node(measured: Mapping[str, Sample]) -> float:
    return measured[PROBE_ONE].wall_s / measured[SSLYZE].wall_s


def _playbook(measured: Mapping[str, Sample]) -> float:
    return measured[VERIFY].wall_s / (measured[PROBE].wall_s + 2 * measured[EMPTY].wall_s)


def _pairs(nodes: int) -> Claim:
    return Claim(
        f"a pair of {nodes} nodes", f"ms a pair: {nodes} nodes / 3 nodes",
        lambda measured: measured[matrix_of(nodes)].pair_ms / measured[MATRIX].pair_ms,
        floor=1.2, at_least=False)


def claims(sizes: tuple[int, ...]) -> list[Claim]:
    """Return all claims; ``sizes`` are the clusters beside that of 3 nodes."""
    return [
        Claim("matrix", "wall: shell / matrix, 3 nodes", _matrix, 20, at_least=True),
        Claim("rate", "resumed/s: witnessed / s_time", _rate, 0.8, at_least=True, aim=1.0),
        Claim("client CPU", "CPU a resumption: witnessed / s_time", _cpu, 3, at_least=False, aim=2),
        Claim("evidence", "CPU a resumption: witnessed / bare", _evidence, 1.3, at_least=False),
        Claim("one node", "wall: probe, 1 node / sslyze", _one_node, 1.0, at_least=False),
        *(_pairs(nodes) for nodes in sizes),
        Claim("playbook", "wall: verify.yml / (probe + 2 empty)", _playbook, 1.0, at_least=False)]
