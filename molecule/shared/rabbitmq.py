"""A RabbitMQ cluster with its MQTT plugin, from Debian's package, run by whoever calls this.

The package is unpacked, not installed: its service, its user and its files under /etc and /var
never come into being. Everything is on loopback, also Erlang's distribution and its own epmd.

    rabbitmq.py fetch        have the package; without network if it is there already
    rabbitmq.py configure    make a CA, a server certificate, a password, and write the nodes'
                             configuration
    rabbitmq.py start        start epmd and all nodes side by side
    rabbitmq.py await        return when every node has booted
    rabbitmq.py join         return when all nodes are one cluster
    rabbitmq.py enable       start the MQTT plugin on every node
    rabbitmq.py admit        return when every node lets a client in
    rabbitmq.py demand       have every node demand client certificates, and know users by them
    rabbitmq.py forgo        have every node ask for no certificate, and know users by password
    rabbitmq.py destroy      end everything and remove all but the package

SCENARIO_BASE_PORT is the first of two ports for each of the nodes, MQTT's and distribution's.
Another cluster than molecule's is one with a folder of its own in STAGING_FOLDER, and with its
number of nodes in STAGING_NODES.
"""
from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import plain_mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import ports
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.epmd import (
    ClusterEpmd,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.launch import (
    detached,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import (
    Process,
    working_under,
)

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "rabbitmq"
UNPACKED = CACHE / "package"
STATE = Path(os.environ.get("STAGING_FOLDER", CACHE / "cluster"))
TLS = STATE / "tls"
USERNAME = "device"
PASSWORD_FILE = STATE / "password"
START_S = 120
CONNECT_S = 30.0
STOP_S = 20.0
_BOOTED = """
Booted = fun Again(Node, Process) ->
             case rpc:call(Node, rabbit, await_startup, []) of
                 ok -> true = erpc:call(Node, rabbit, is_running, []);
                 {badrpc, _} ->
                     {true, _} = {filelib:is_dir(Process), {ended, Node}},
                     timer:sleep(200),
                     Again(Node, Process)
             end
         end,
[Booted(Node, Process) || {Node, Process} <- PROCESSES]"""
_ENABLED = """
[begin
   {ok, Started, []} = erpc:call(Node, rabbit_plugins, ensure, [File]),
   true = lists:member(rabbitmq_mqtt, Started)
 end || {Node, File} <- FILES]"""
_ACCEPTED = """
[io:format("~b ", [lists:sum([Count || #{metrics := Metrics} <-
                                           maps:values(erpc:call(Node, ranch, info, [])),
                                       {{conns_sup, _, accept}, Count} <- maps:to_list(Metrics)])])
 || Node <- NODES]"""
_LISTENING = """
[begin
   [Name] = maps:keys(erpc:call(Node, ranch, info, [])),
   ok = erpc:call(Node, ranch, CHANGE, [Name])
 end || Node <- [NODE]]"""
_OPENED_AGAIN = """
Change = fun(Options) ->
             lists:foldl(fun({Key, _} = Option, All) -> lists:keystore(Key, 1, All, Option) end,
                         Options, [{verify, VERIFY}, {fail_if_no_peer_cert, DEMAND}])
         end,
[begin
   Call = fun(Module, Name, Arguments) -> erpc:call(Node, Module, Name, Arguments) end,
   {ok, Tls} = Call(application, get_env, [rabbit, ssl_options]),
   ok = Call(application, set_env, [rabbit, ssl_options, Change(Tls)]),
   ok = Call(application, set_env, [rabbit, ssl_cert_login_from, common_name]),
   ok = Call(application, set_env, [rabbitmq_mqtt, ssl_cert_login, DEMAND]),
   [{Name, #{transport_options := #{socket_opts := Socket} = Transport}}] =
       maps:to_list(Call(ranch, info, [])),
   ok = Call(ranch, suspend_listener, [Name]),
   ok = Call(ranch, set_transport_options, [Name, Transport#{socket_opts := Change(Socket)}]),
   ok = Call(ranch, resume_listener, [Name])
 end || Node <- NODES]"""
"""What ssl_options.verify, ssl_options.fail_if_no_peer_cert and mqtt.ssl_cert_login do in
rabbitmq.conf, in a second; starting the nodes anew takes most of a minute."""


@dataclass(frozen=True)
class Node:
    """One node and its ports."""

    name: str
    port: int
    """Of the MQTT listener, TLS."""
    dist_port: int

    @property
    def folder(self) -> Path:
        """Where all its files are."""
        return STATE / self.name

    @property
    def erlang_name(self) -> str:
        """Its name in the Erlang cluster."""
        return f"{self.name}@localhost"


_COUNT = int(os.environ.get("STAGING_NODES", "3"))
_BASE_PORT = int(os.environ.get("SCENARIO_BASE_PORT", "0"))  # fetching needs none
NODES = tuple(Node(f"rabbit{number + 1}", _BASE_PORT + number, _BASE_PORT + _COUNT + number)
              for number in range(_COUNT))


def _conf(node: Node, password: str) -> str:
    """Return rabbitmq.conf: MQTT over TLS 1.2 for one user, and no other listener at all."""
    discovery = "".join(f"cluster_formation.classic_config.nodes.{number} = {peer.erlang_name}\n"
                        for number, peer in enumerate(NODES, 1))
    return f"""\
listeners.tcp = none
mqtt.listeners.tcp = none
mqtt.listeners.ssl.1 = 127.0.0.1:{node.port}
mqtt.allow_anonymous = false
ssl_options.cacertfile = {TLS / "ca.pem"}
ssl_options.certfile = {TLS / "server.pem"}
ssl_options.keyfile = {TLS / "server-key.pem"}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.2
default_user = {USERNAME}
default_pass = {password}
log.file = {node.folder / "rabbitmq.log"}
log.file.level = info
cluster_name = staging
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.discovery_retry_limit = 2
{discovery}"""


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file that is never readable for others in between."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def make_ca(certificate: Path, key: Path) -> None:
    """Make a CA of its own, which nothing else here knows of."""
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "7",
             "-subj", "/CN=Staging CA", "-addext", "basicConstraints=critical,CA:true",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             "-keyout", str(key), "-out", str(certificate))


def _make_certificates() -> None:
    TLS.mkdir(exist_ok=True)
    make_ca(TLS / "ca.pem", TLS / "ca-key.pem")
    for name, common_name, extension in (
            ("server", "Staging broker", "subjectAltName=IP:127.0.0.1"),
            ("client", USERNAME, "extendedKeyUsage=clientAuth")):
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "7",
                 "-CA", str(TLS / "ca.pem"), "-CAkey", str(TLS / "ca-key.pem"),
                 "-subj", f"/CN={common_name}", "-addext", extension,
                 "-addext", "basicConstraints=critical,CA:false",
                 "-keyout", str(TLS / f"{name}-key.pem"), "-out", str(TLS / f"{name}.pem"))


def _run_here(*command: str) -> None:
    done = subprocess.run(command, cwd=CACHE, check=False, capture_output=True, text=True,
                          timeout=300)
    if done.returncode:
        sys.exit(f"RabbitMQ's package cannot be had: {' '.join(command)} failed; is the network "
                 f"there, and is apt-get update recent?\n{done.stderr.strip()}")


def fetch() -> None:
    """Download and unpack the package, unless that is done; each step is whole or not at all."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # Another cluster of this checkout may be about to do the same.
    lock = os.open(CACHE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch()
    finally:
        os.close(lock)


def _fetch() -> None:
    if UNPACKED.exists():
        return
    if not list(CACHE.glob("rabbitmq-server_*.deb")):
        _run_here("apt-get", "download", "rabbitmq-server")
    (package,) = CACHE.glob("rabbitmq-server_*.deb")
    half = CACHE / "package.half"
    shutil.rmtree(half, ignore_errors=True)
    _run_here("dpkg-deb", "--extract", str(package), str(half))
    half.rename(UNPACKED)
    print(f"unpacked {package.name}")  # noqa: T201 - what the playbook shows


def version() -> tuple[int, ...]:
    """Return the version of the unpacked RabbitMQ."""
    (folder,) = UNPACKED.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")
    return tuple(int(part) for part in folder.name.rpartition("-")[2].split("."))


def configure() -> None:
    """Write every node's configuration; each cluster has its own CA, password and cookie."""
    os.umask(0o077)
    STATE.mkdir(parents=True, exist_ok=True)
    _make_certificates()
    # Hexadecimal: it must be searchable in any output, however that quotes things.
    password = secrets.token_hex(16)
    _write(PASSWORD_FILE, password, 0o600)
    _write(STATE / ".erlang.cookie", secrets.token_hex(20), 0o400)
    for node in NODES:
        node.folder.mkdir(exist_ok=True)
        _write(node.folder / "rabbitmq.conf", _conf(node, password), 0o600)
        _write(node.folder / "enabled_plugins", "[].\n", 0o644)


def _environment(node: Node, epmd_port: int) -> dict[str, str]:
    return {
        # The cookie is found there.
        "HOME": str(STATE),
        "ERL_EPMD_PORT": str(epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
        # It does not exist: /etc/rabbitmq of an installed RabbitMQ must not matter.
        "RABBITMQ_CONF_ENV_FILE": str(node.folder / "rabbitmq-env.conf"),
        "RABBITMQ_NODENAME": node.erlang_name,
        "RABBITMQ_DIST_PORT": str(node.dist_port),
        "RABBITMQ_CONFIG_FILE": str(node.folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(node.folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(node.folder / "generated"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(node.folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(node.folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(node.folder),
        "RABBITMQ_PID_FILE": str(node.folder / "rabbitmq.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
            "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        # Its script then becomes the Erlang VM instead of waiting for it, and one pid is enough.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def start() -> None:
    """Start all nodes side by side, without waiting for them."""
    for node in NODES:
        for port in (node.port, node.dist_port):
            if not ports.is_free("127.0.0.1", port):
                holders = ", ".join(process.describe() for process in ports.holders(port))
                sys.exit(f"Port {port} of {node.name} is in use by {holders or 'somebody else'}.")
    os.umask(0o077)
    epmd_port = ClusterEpmd(STATE).ensure()
    (server,) = UNPACKED.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
    for node in NODES:
        process = detached([str(server)], folder=node.folder,
                           output=node.folder / "output.log",
                           extra_environment=_environment(node, epmd_port))
        _write(node.folder / "process.json", json.dumps(process.as_dict()), 0o600)


def process_of(node: Node) -> Process | None:
    """Return the node's process as it was recorded."""
    try:
        return Process.from_dict(json.loads((node.folder / "process.json").read_text()))
    except (OSError, ValueError):
        return None


def _end_of_log(node: Node) -> str:
    for name in ("rabbitmq.log", "output.log"):
        try:
            return "\n".join((node.folder / name).read_text().splitlines()[-20:])
        except OSError:
            continue
    return "it wrote no log"


def _ask(code: str, timeout_s: float = CONNECT_S) -> str:
    """Evaluate Erlang from where all nodes can be called, and return what it prints.

    RabbitMQ's own tools do no more, and each call of one takes seconds.
    """
    epmd = ClusterEpmd(STATE).recorded()
    if epmd is None:
        sys.exit("The RabbitMQ cluster has no epmd: it was not started.")
    nodes = ", ".join(node.erlang_name for node in NODES)
    done = subprocess.run(
        ["timeout", str(timeout_s),
         "erl", "-noinput", "-hidden", "-sname", f"staging-{os.getpid()}@localhost",
         "-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
         "-eval", f"{code.replace('NODES', f'[{nodes}]')}, halt()."],
        # The cookie is found in HOME.
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(STATE),
             "ERL_EPMD_PORT": str(epmd.port)},
        cwd=STATE, check=False, capture_output=True, text=True)
    if done.returncode:
        why = "no end" if done.returncode == 124 else done.stdout + done.stderr  # timeout(1)
        logs = "\n".join(f"{node.name}:\n{_end_of_log(node)}" for node in NODES)
        sys.exit(f"The nodes were asked for{code}\nThis came of it: {why}\n{logs}")
    return done.stdout


def await_nodes() -> None:
    """Return when every node has booted; at once with an error when one ends."""
    processes = []
    for node in NODES:
        process = process_of(node)
        if process is None or process.state() != "running":
            sys.exit(f"{node.name} does not run:\n{_end_of_log(node)}")
        processes.append(f'{{{node.erlang_name}, "/proc/{process.pid}"}}')
    _ask(_BOOTED.replace("PROCESSES", f"[{', '.join(processes)}]"), START_S)


def join() -> None:
    """Return when every node counts all others to its cluster."""
    _ask(f"[ok = erpc:call(Node, rabbit_nodes, await_running_count, [{len(NODES)}, 30000]) "
         "|| Node <- NODES]", START_S)


def enable() -> None:
    """Start the MQTT plugin on one node after the other, once the cluster stands.

    It counts the cluster's nodes when it starts and then waits for most of them to elect a leader.
    Plugins that start with nodes which are just joining count differently, and now and then elect
    nobody, ever; no node answers a CONNECT then.
    """
    files = []
    for node in NODES:
        file = node.folder / "enabled_plugins"
        file.write_text("[rabbitmq_mqtt].\n")
        files.append(f'{{{node.erlang_name}, "{file}"}}')
    _ask(_ENABLED.replace("FILES", f"[{', '.join(files)}]"), START_S)


def await_clients() -> None:
    """Return when every node answers CONNECT with a CONNACK that accepts."""
    context = ssl.create_default_context(cafile=TLS / "ca.pem")
    credentials = USERNAME, PASSWORD_FILE.read_text()
    for node in NODES:
        end = time.monotonic() + CONNECT_S
        while True:
            try:
                with plain_mqtt.Client(context, node.port, credentials=credentials):
                    break
            except (OSError, AssertionError) as error:
                if time.monotonic() >= end:
                    sys.exit(f"{node.name} accepts no CONNECT: {error}\n{_end_of_log(node)}")
            time.sleep(0.5)


def demand_certificates(*, demand: bool) -> None:
    """Open every node's listener again, with client certificates demanded or not asked for.

    Where they are, their common name is that of the user, who has to give no password.
    """
    _ask(_OPENED_AGAIN.replace("DEMAND", str(demand).lower()).replace(
        "VERIFY", "verify_peer" if demand else "verify_none"))


def listen(node: Node, *, listening: bool) -> None:
    """Close a node's only listener, or open it again."""
    _ask(_LISTENING.replace("NODE", node.erlang_name).replace(
        "CHANGE", "resume_listener" if listening else "suspend_listener"))


def accepted() -> dict[str, int]:
    """Return how many connections each node has accepted at its only listener, by its own count."""
    return dict(zip((node.name for node in NODES), map(int, _ask(_ACCEPTED).split()), strict=True))


def destroy() -> None:
    """End every process and remove every file of the cluster, whatever state it is in."""
    processes = [process for node in NODES if (process := process_of(node)) is not None]
    # Nobody will miss what they remember.
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.wait_gone(STOP_S)
    ClusterEpmd(STATE).stop()
    # A start that was interrupted before it could be recorded.
    for process in working_under(STATE):
        process.signal(signal.SIGKILL)
        process.wait_gone(STOP_S)
    shutil.rmtree(STATE, ignore_errors=True)


def main(*arguments: str) -> None:
    """Do what the command line says."""
    verbs: dict[str, Callable[[], None]] = {
        "fetch": fetch, "configure": configure, "start": start, "await": await_nodes, "join": join,
        "enable": enable, "admit": await_clients,
        "demand": lambda: demand_certificates(demand=True),
        "forgo": lambda: demand_certificates(demand=False), "destroy": destroy}
    if len(arguments) != 1 or arguments[0] not in verbs:
        sys.exit(__doc__)
    verbs[arguments[0]]()


if __name__ == "__main__":
    main(*sys.argv[1:])
