"""The local image, through the docker command line: it must answer as EMQX's image does."""
from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).parents[2]
IMAGE = "embedded-otp-node:otp25"
LABEL = f"conformance.test=image-{os.getpid()}"
NAMES = ("node1.example", "node2.example")
EMQX_CONF = """
node { name = "emqx@in-the-file.example", data_dir = "data" }
cluster {
  name = tested, discovery_strategy = static
  static { seeds = ["emqx@node1.example", "emqx@node2.example"] }
}
dashboard { listeners.http.bind = 18083 }
include "/opt/emqx/etc/listeners.hocon"
"""
LISTENERS = """
listeners {
  ssl { default {
    bind = "0.0.0.0:8883", max_connections = 1000
    ssl_options {
      versions = [tlsv1.2], verify = verify_none, reuse_sessions = true
      certfile = "/opt/emqx/etc/conformance/cert.pem"
      keyfile = "/opt/emqx/etc/conformance/key.pem"
    }
  } }
  tcp { default { enable = false } }
}
"""


@dataclass(frozen=True)
class Done:
    """A finished docker."""

    code: int
    out: str
    err: str


def docker(*words: str) -> Done:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False,
                          timeout=120)
    return Done(done.returncode, done.stdout, done.stderr)


def told(*words: str) -> str:
    done = docker(*words)
    assert done.code == 0, done.err
    return done.out


def make_image(*settings: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Without make's own words about folders, which it says when make runs these tests.
    return subprocess.run(
        ["make", "--no-print-directory", "image", *settings], cwd=ROOT, capture_output=True,
        text=True, check=False, timeout=600, env={**os.environ, "PATH": path})


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.25)
    return True


@dataclass(frozen=True)
class ImageNode:
    """A running container."""

    container: str
    host: str

    def emqx(self, *words: str) -> Done:
        return docker("exec", self.container, "emqx", *words)

    def members(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.emqx("ctl", "cluster", "status", "--json").out
                                            or "{}")
        return answer

    def sees(self, *hosts: str) -> bool:
        return bool(self.members().get("running_nodes") == [f"emqx@{host}" for host in hosts])

    def port(self, number: int) -> int:
        return int(told("port", self.container, str(number)).split()[0].rpartition(":")[2])

    def log(self) -> str:
        done = docker("logs", self.container)
        return done.out + done.err


@dataclass(frozen=True)
class Place:
    """Where containers of this test run, and what they are given."""

    network: str
    folder: Path

    def start(self, host: str, *options: str) -> ImageNode:
        container = f"{self.network}-{host.partition('.')[0]}"
        told("run", "--detach", "--name", container, "--label", LABEL, "--network", self.network,
             "--network-alias", host, "--hostname", host, "--publish", "127.0.0.1::8883",
             "--publish", "127.0.0.1::18083",
             "--env", f"EMQX_NODE__NAME=emqx@{host}", "--env", "EMQX_NODE__COOKIE=tested-cookie",
             "--env", "EMQX_LICENSE__KEY=s3cret-key",
             "--env", "EMQX_DASHBOARD__DEFAULT_PASSWORD=s3cret-password",
             "--env", "ERL_FLAGS=-ssl session_lifetime 300 -ssl session_cache_server_max 20000",
             "--volume", f"{self.folder}/emqx.conf:/opt/emqx/etc/emqx.conf:ro",
             "--volume", f"{self.folder}/listeners.hocon:/opt/emqx/etc/listeners.hocon:ro",
             "--volume", f"{self.folder}/certs:/opt/emqx/etc/conformance:ro",
             *options, IMAGE)
        return ImageNode(container, host)


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    try:
        answered = docker("version", "--format", "{{.Server.Version}}")
    except OSError:
        pytest.skip("there is no docker command here")
    if answered.code:
        pytest.skip(f"no Docker engine answers: {answered.err.strip() or answered.out.strip()}")


@pytest.fixture(scope="module")
def image(_engine: None) -> str:
    made = make_image("OTP=25")
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.splitlines()[-1] == IMAGE
    return IMAGE


@pytest.fixture(scope="module")
def place(image: str, certificate: tuple[Path, Path],
          tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A network of our own; everything that carries our label goes with it."""
    folder = tmp_path_factory.mktemp("image")
    # The node's user in the container is another one than here.
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    certs = folder / "certs"
    certs.mkdir(mode=0o755)
    for source, name in zip(certificate, ("cert.pem", "key.pem"), strict=True):
        (certs / name).write_bytes(source.read_bytes())
        (certs / name).chmod(0o644)
    (folder / "emqx.conf").write_text(EMQX_CONF)
    (folder / "listeners.hocon").write_text(LISTENERS)
    network = f"image-test-{os.getpid()}"
    told("network", "create", "--label", LABEL, network)
    try:
        yield Place(network, folder)
    finally:
        remove_all()
    assert told("ps", "--all", "--quiet", "--filter", f"label={LABEL}") == ""
    assert told("network", "ls", "--quiet", "--filter", f"label={LABEL}") == ""


def remove_all() -> None:
    for container in told("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split():
        docker("rm", "--force", "--volumes", container)
    for network in told("network", "ls", "--quiet", "--filter", f"label={LABEL}").split():
        docker("network", "rm", network)


@pytest.fixture(scope="module")
def nodes(place: Place) -> tuple[ImageNode, ImageNode]:
    one, two = (place.start(host) for host in NAMES)
    assert eventually(lambda: one.sees(*NAMES) and two.sees(*NAMES)), one.log() + two.log()
    return one, two


@contextlib.contextmanager
def single(place: Place, host: str, *options: str) -> Iterator[ImageNode]:
    """A container that no other test uses."""
    node = place.start(host, *options)
    try:
        yield node
    finally:
        docker("rm", "--force", "--volumes", node.container)


def test_a_second_make_finds_it(image: str) -> None:
    again = make_image("OTP=25")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == [f"{image} is there and up to date", image]


def test_an_unknown_otp_is_one_sentence() -> None:
    refused = make_image("OTP=24")
    assert refused.returncode != 0
    assert ('make image: there is no image with Erlang/OTP "24"; there are 25 27 29'
            in refused.stderr)


def test_the_contract_of_emqx_s_image(image: str) -> None:
    config = json.loads(told("image", "inspect", image))[0]["Config"]
    assert config["WorkingDir"] == "/opt/emqx"
    assert config["User"] == "emqx"
    assert set(config["Volumes"]) == {"/opt/emqx/log", "/opt/emqx/data"}
    assert set(config["ExposedPorts"]) == {"8883/tcp", "18083/tcp", "4370/tcp"}
    assert config["Entrypoint"] == ["/usr/bin/docker-entrypoint.sh"]
    assert config["Cmd"] == ["/opt/emqx/bin/emqx", "foreground"]
    assert config["Labels"]["conformance.image"] == "embedded-otp-node"
    assert re.fullmatch(r"[0-9a-f]{16}", config["Labels"]["conformance.sources"])
    assert "not EMQX" in config["Labels"]["org.opencontainers.image.title"]


def test_user_and_python(nodes: tuple[ImageNode, ImageNode]) -> None:
    assert told("exec", nodes[0].container, "id").startswith("uid=1000(emqx) gid=1000(emqx)")
    # What Ansible's modules import.
    assert told("exec", nodes[0].container, "python3", "-c",
                "import json, ssl, zipfile, tempfile, subprocess; print('fine')") == "fine\n"


def test_status(nodes: tuple[ImageNode, ImageNode]) -> None:
    for node in nodes:
        assert node.emqx("ctl", "status").out == f"Node 'emqx@{node.host}' 0.1.0 is started\n"
    assert nodes[0].emqx("ping").out == "pong\n"


def test_cluster_status(nodes: tuple[ImageNode, ImageNode]) -> None:
    assert nodes[0].emqx("ctl", "cluster", "status").out == (
        "Cluster status: #{running_nodes => ['emqx@node1.example','emqx@node2.example'],\n"
        "                  stopped_nodes => []}\n")
    assert nodes[1].members() == {
        "running_nodes": ["emqx@node1.example", "emqx@node2.example"], "stopped_nodes": []}


def test_broker(nodes: tuple[ImageNode, ImageNode]) -> None:
    assert re.fullmatch(
        r"sysdescr  : embedded OTP node \(not EMQX\)\nversion   : 0\.1\.0\n"
        r"datetime  : \d{4}-\d\d-\d\dT[\d:.]+\+00:00\nuptime    : (\d+ minutes, )?\d+ seconds\n",
        nodes[0].emqx("ctl", "broker").out)


def test_listeners(nodes: tuple[ImageNode, ImageNode]) -> None:
    assert nodes[0].emqx("ctl", "listeners").out == (
        "ssl:default\n  listen_on       : 0.0.0.0:8883\n  acceptors       : 16\n"
        "  proxy_protocol  : false\n  running         : true\n  current_conn    : 0\n"
        "  max_conns       : 1000\n")


def test_eval_and_erl_flags(nodes: tuple[ImageNode, ImageNode]) -> None:
    assert nodes[0].emqx("eval", "erlang:system_info(otp_release)").out == '"25"\n'
    assert nodes[0].emqx("eval", "application:get_env(ssl, session_lifetime)").out == "{ok,300}\n"
    assert nodes[0].emqx(
        "eval", "application:get_env(ssl, session_cache_server_max)").out == "{ok,20000}\n"


def test_a_mounted_vm_args_wins_over_erl_flags(place: Place) -> None:
    flags = place.folder / "vm.args"
    flags.write_text("+P 2097152\n-ssl session_cache_server_max 100000  # devices\n")
    flags.chmod(0o644)
    with single(place, "node6.example", "--env", "EMQX_CLUSTER__STATIC__SEEDS=[]",
                "--volume", f"{flags}:/opt/emqx/etc/vm.args:ro") as node:
        assert eventually(lambda: node.emqx("ping").code == 0), node.log()
        assert node.emqx("eval", "application:get_env(ssl, session_cache_server_max)").out == (
            "{ok,100000}\n")
        # What it does not say is left to ERL_FLAGS.
        assert node.emqx("eval", "application:get_env(ssl, session_lifetime)").out == "{ok,300}\n"
        assert "known to Erlang, without effect here: +P (vm.args)" in node.log()


@pytest.mark.parametrize(("words", "sentence"), [
    (("ctl", "clients", "list"), 'unknown command "clients list"; there are: ctl status, '),
    (("eval", "1 +"), "this is no Erlang expression: "),
    (("install",), 'emqx: unknown command "install"; there are: foreground, ctl, eval, ping'),
])
def test_other_commands_are_refused(nodes: tuple[ImageNode, ImageNode], words: tuple[str, ...],
                                    sentence: str) -> None:
    done = nodes[0].emqx(*words)
    assert done.code != 0
    assert done.err.startswith(sentence)
    assert done.err.count("\n") == 1


def test_the_dashboard_s_port(nodes: tuple[ImageNode, ImageNode]) -> None:
    base = f"http://127.0.0.1:{nodes[0].port(18083)}"
    with urllib.request.urlopen(f"{base}/status", timeout=10) as answer:  # noqa: S310 - own node
        assert answer.headers["content-type"] == "text/plain"
        assert answer.read().decode() == "Node emqx@node1.example is started\nemqx is running"
    with urllib.request.urlopen(f"{base}/", timeout=10) as answer:  # noqa: S310 - own node
        assert "not EMQX" in answer.read().decode()


def test_the_console(nodes: tuple[ImageNode, ImageNode]) -> None:
    log = nodes[0].log()
    assert "emqx@node1.example, an embedded OTP node (not EMQX) 0.1.0 on Erlang/OTP 25" in log
    assert log.count("EMQX_LICENSE__KEY") == 1
    assert log.count("EMQX_DASHBOARD__DEFAULT_PASSWORD") == 1
    for secret in ("s3cret", "tested-cookie"):
        assert secret not in log
    assert "tested-cookie" not in told("top", nodes[0].container, "-eo", "pid,args")


def subscriber(node: ImageNode, ca: Path) -> tuple[paho.Client, threading.Event]:
    """A client that subscribed to every topic, and the event of its first message."""
    subscribed, received = threading.Event(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.tls_set(str(ca))
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda *_: received.set()
    client.connect("localhost", node.port(8883))
    client.loop_start()
    client.subscribe("#", qos=1)
    assert subscribed.wait(30)
    return client, received


def test_a_publish_reaches_a_subscriber_on_the_other_node(
        nodes: tuple[ImageNode, ImageNode], certificate: tuple[Path, Path]) -> None:
    for here, there in (nodes, nodes[::-1]):
        client, received = subscriber(there, certificate[0])
        try:
            publish.single("a/b", "hello", qos=1, hostname="localhost", port=here.port(8883),
                           tls={"ca_certs": str(certificate[0])})
            assert received.wait(30), here.log() + there.log()
        finally:
            client.disconnect()
            client.loop_stop()


def test_tls_sessions_stay_on_their_node(nodes: tuple[ImageNode, ImageNode],
                                         certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def session(node: ImageNode,
                offered: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with socket.create_connection(("127.0.0.1", node.port(8883)), timeout=30) as plain:
            # Whether it is marked resumable is decided by a proper close.
            tls = context.wrap_socket(plain, server_hostname="localhost", session=offered)
            kept, reused = tls.session, bool(tls.session_reused)
            with contextlib.suppress(OSError):
                tls.unwrap()
            return kept, reused

    issued, _ = session(nodes[0], None)
    assert session(nodes[0], issued)[1] is True
    assert session(nodes[1], issued)[1] is False


def test_it_heals_after_it_was_off_the_network(
        nodes: tuple[ImageNode, ImageNode], place: Place) -> None:
    one, two = nodes
    told("network", "disconnect", place.network, two.container)
    assert eventually(lambda: one.sees(NAMES[0]) and two.sees(NAMES[1])), one.log()
    assert one.members()["stopped_nodes"] == ["emqx@node2.example"]
    told("network", "connect", "--alias", two.host, place.network, two.container)
    assert eventually(lambda: one.sees(*NAMES) and two.sees(*NAMES)), one.log() + two.log()


@pytest.mark.parametrize("end", ["stop", "kill", "pause"])
def test_it_comes_back(nodes: tuple[ImageNode, ImageNode], end: str) -> None:
    one, two = nodes
    told(end, two.container)
    assert eventually(lambda: one.sees(NAMES[0])), one.log()
    if end != "pause":
        assert two.emqx("ctl", "status").code != 0
    told("unpause" if end == "pause" else "start", two.container)
    assert eventually(lambda: one.sees(*NAMES) and two.sees(*NAMES)), one.log() + two.log()


def test_sigterm_ends_it_in_order(place: Place) -> None:
    with single(place, "node3.example") as node:
        assert eventually(lambda: node.emqx("ping").code == 0), node.log()
        # Docker would kill it after the longest time given here, and say 137.
        told("stop", "--time", "30", node.container)
        state = json.loads(told("inspect", node.container))[0]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        assert "SIGTERM received" in node.log()


def test_the_environment_wins_over_the_file(place: Place) -> None:
    with single(place, "node4.example", "--env", "EMQX_CLUSTER__STATIC__SEEDS=[emqx@gone.example]",
                "--env", "EMQX_LISTENERS__SSL__DEFAULT__BIND=127.0.0.1:8884",
                "--env", "EMQX_LISTENERS__SSL__DEFAULT__ACCEPTORS=3") as node:
        assert eventually(lambda: node.emqx("ping").code == 0), node.log()
        assert node.members() == {"running_nodes": ["emqx@node4.example"],
                                  "stopped_nodes": ["emqx@gone.example"]}
        listeners = node.emqx("ctl", "listeners").out
        assert "  listen_on       : 127.0.0.1:8884\n  acceptors       : 3\n" in listeners
        assert "wins over emqx@in-the-file.example" in node.log()


@pytest.mark.parametrize(("setting", "sentence"), [
    ("EMQX_LISTENERS__SSL__DEFAULT__BNID=1",
     'listeners.ssl.default.bnid: EMQX knows no such key; did you mean "bind"?'),
    ("EMQX_LISTENERS__SSL__DEFAULT__SSL_OPTIONS__CIPHERS=NO-SUCH-ONE",
     "listeners.ssl.default.ssl_options.ciphers: OTP does not know the cipher suite NO-SUCH-ONE"),
    ("EMQX_DASHBOARD__LISTENERS__HTTP__BIND=8883", "0.0.0.0:8883: address already in use"),
    ("EMQX_NODE__NAME=emqx", 'node.name: "emqx" is not a node name such as emqx@node1.example'),
])
def test_what_cannot_boot_says_why(place: Place, setting: str, sentence: str) -> None:
    with single(place, "node5.example", "--env", setting) as node:
        assert eventually(lambda: told("inspect", "--format", "{{.State.Status}}",
                                       node.container) == "exited\n"), node.log()
        assert told("inspect", "--format", "{{.State.ExitCode}}", node.container) == "1\n"
        refusals = [line for line in node.log().splitlines() if line.startswith("cannot boot: ")]
        assert refusals == [f"cannot boot: {sentence}"]


def test_the_image_s_own_configuration_boots(place: Place) -> None:
    container = f"{place.network}-bare"
    told("run", "--detach", "--name", container, "--label", LABEL, "--network", place.network,
         IMAGE)
    node = ImageNode(container, "")
    assert eventually(lambda: node.emqx("ping").code == 0), node.log()
    assert re.fullmatch(r"Node 'emqx@[\d.]+' 0\.1\.0 is started\n", node.emqx("ctl", "status").out)
    assert "no MQTT client can connect" in node.log()
    assert node.emqx("ctl", "listeners").out == ""
