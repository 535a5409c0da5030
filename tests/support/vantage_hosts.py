"""Hosts to probe from: each a network namespace with a real sshd and nothing but python3.

Nothing outside the namespaces is changed but for a bridge and the veth pairs that lead to them.
Inside each the whole file system is read-only, what Python has beyond its own library is covered,
and so is this checkout; ``/tmp`` and ``/run`` are empty and of its own.
"""
from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SSHD = "/usr/sbin/sshd"
_NEEDED = ("ip", "nsenter", "ssh", "ssh-keygen", "unshare")
_COVERED = ("/usr/lib/python3/dist-packages", "/usr/local/lib", "/root",
            "/dev/shm")  # noqa: S108 - each host has its own
WRITABLE = ("/run", "/tmp", "/root", "/dev/shm")  # noqa: S108 - each host has its own
"""Where a host can be written to: each a file system in memory, of its own."""
_CONFIG = """
Port 22
ListenAddress {address}
HostKey /run/host_key
AuthorizedKeysFile /run/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
# The order matters: /run holds the keys before /tmp, where they come from, is covered.
_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
cp {folder}/host_key {folder}/authorized_keys {folder}/sshd_config /run
for covered in {covered}; do
  if [ -d "$covered" ]; then mount -t tmpfs none "$covered"; fi
done
mount -t tmpfs none /tmp
mount -o remount,bind,ro /
exec {sshd} -D -e -f /run/sshd_config
"""


def why_not() -> str:
    """Return why there can be no such hosts here, or nothing."""
    missing = [name for name in _NEEDED if not shutil.which(name)]
    if not Path(SSHD).exists():
        missing.append(SSHD)
    if missing:
        return f"missing: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"],
                           capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


@dataclass
class VantageHost:
    """One running host."""

    name: str
    address: str
    namespace: str
    folder: Path
    server: subprocess.Popen[bytes]

    def variables(self) -> dict[str, str]:
        """What an inventory says of it."""
        return {"ansible_host": self.address, "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.folder / "client_key"),
                "ansible_ssh_common_args": (
                    f"-F /dev/null -o UserKnownHostsFile={self.folder}/known_hosts "
                    "-o IdentitiesOnly=yes -o IdentityAgent=none")}

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as Ansible would."""
        variables = self.variables()
        return subprocess.run(
            ["ssh", "-i", variables["ansible_ssh_private_key_file"],
             *variables["ansible_ssh_common_args"].split(), f"root@{self.address}", command],
            capture_output=True, text=True, check=False, timeout=20)

    def inside(self, *command: str) -> str:
        """Run a command in its namespaces, past sshd, and return what it prints."""
        # unshare waits for its one child, which is the first process in there.
        [first] = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children"
                       ).read_text().split()
        return subprocess.run(["nsenter", "--target", first, "--mount", "--pid", "--net", *command],
                              capture_output=True, text=True, check=True, timeout=20).stdout

    def processes(self) -> list[str]:
        """Return the command lines that run there, without sshd and the asking itself."""
        lines = self.inside("ps", "-eo", "args", "--no-headers").splitlines()
        return [line for line in lines if not line.startswith(("sshd:", "ps ", SSHD))]

    def log(self) -> str:
        """Return what sshd said."""
        return (self.folder / "log").read_text()


@dataclass(frozen=True)
class Network:
    """The bridge that everything is reached over, and the hosts behind it."""

    nodes: list[str]
    """Addresses of this machine on the bridge, for nodes to be reached at."""
    hosts: list[VantageHost]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def vantage_hosts(folder: Path, *names: str, nodes: int = 3) -> Iterator[Network]:
    """Make a network with hosts of these names, and take it away again."""
    tag = secrets.token_hex(3)
    bridge, subnet = f"rv{tag}", f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
    with contextlib.ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        addresses = [f"{subnet}.{number}" for number in range(1, nodes + 1)]
        for address in addresses:
            _ip("addr", "add", f"{address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = [_host(stack, folder / name, f"{subnet}.{number}", bridge, f"rv{tag}{number}")
                 for number, name in enumerate(names, 101)]
        yield Network(addresses, hosts)


def _host(stack: contextlib.ExitStack, folder: Path, address: str, bridge: str,
          namespace: str) -> VantageHost:
    _ip("netns", "add", namespace)
    stack.callback(_ip, "netns", "del", namespace)
    _ip("link", "add", namespace, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", namespace, "master", bridge, "up")
    for arguments in (("addr", "add", f"{address}/24", "dev", "eth0"),
                      ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
        _ip("-n", namespace, *arguments)
    folder.mkdir()
    for key in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key],
                       check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    (folder / "known_hosts").write_text(f"{address} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(_CONFIG.format(address=address))
    boot = _BOOT.format(folder=folder, sshd=SSHD, covered=" ".join((*_COVERED, str(ROOT))))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "unshare", "--mount", "--pid", "--fork",
             "--kill-child", "--mount-proc", "sh", "-c", boot],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    stack.callback(server.wait)
    stack.callback(server.kill)
    host = VantageHost(folder.name, address, namespace, folder, server)
    _wait_for(host)
    return host


def _wait_for(host: VantageHost) -> None:
    end = time.monotonic() + 15
    while host.ssh("true").returncode:
        if host.server.poll() is not None or time.monotonic() >= end:
            raise OSError(f"sshd of {host.name} does not answer: {host.log()}")
        time.sleep(0.1)
