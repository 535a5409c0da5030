"""How to see a finding by hand: what a person types, and what to look for in what it prints.

The lines are for bash and use ``openssl`` alone (``perl`` where a session file is altered), so that
nobody need believe this harness. They follow docs/sessions.md: the session lies in a file of
``mktemp``, which holds its master secret and is removed in the end; ``-no_ticket``, since a ticket
proves nothing of session IDs; ``</dev/null`` ends a connection properly, with close_notify, as soon
as the handshake is done, so that nothing need be waited for. No line holds a password. Where
something is up to the person in between, the lines are in braces: bash reads all of them before it
runs the first, so that ``read`` waits for the Enter key and not for the next line that was pasted.

Some checks send what openssl cannot. Then that is said, with the command that has the harness do
it.
"""
from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_SEEN = r"^(New|Reused),|alert|:error:|errno"
"""What of s_client's output matters; its Master-Key never does."""
_START = "set -o pipefail"
"""So that s_client's exit status, not grep's, says whether there was a handshake."""
_KEEP = "session=$(mktemp)"
_END = 'rm "$session"'
_NO_HANDSHAKE = '|| echo "no handshake"'
_TOLD = ("failed", "known", "warned", "error")
_CONNECT = r"{ printf '\20\23\0\4MQTT\4\2\0\12\0\7by-hand'; sleep 1; }"
"""MQTT 3.1.1's CONNECT (3.1): clean session, keep alive 10 s, client id ``by-hand``."""


@dataclass(frozen=True)
class Recipe:
    """How to see one finding by hand."""

    lines: tuple[str, ...]
    """To be typed in this order into bash, in the checkout; empty where openssl cannot do it."""
    sound: str
    """What a target without the fault prints, in one sentence; empty without lines."""
    seen: str
    """What shows the fault, in one sentence; empty without lines."""
    harness: str
    """The harness's own command for it."""
    why_not: str = ""
    """What openssl cannot do of it, in one sentence; empty when the lines do it all."""


@dataclass(frozen=True)
class _Client:
    """s_client and one address."""

    host: str
    port: int
    server_name: str
    identity: tuple[str, ...]
    """Whom to trust and who to be, in options."""

    def line(self, *more: str, seen: str = _SEEN, version: str = "-tls1_2",
             name: str | None = None, ticket: bool = False) -> str:
        """Return a command line that prints what of the handshake matters.

        ``more`` is put in as it is: what needs quoting is quoted already.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        words = ["openssl", "s_client", "-connect", f"{host}:{self.port}",
                 *_server_name(name or self.server_name), *filter(None, [version]),
                 *(() if ticket else ("-no_ticket",)), *self.identity]
        return (f"{shlex.join(words)}{''.join(f' {one}' for one in more)} </dev/null 2>&1 "
                f"| grep -E {shlex.quote(seen)} {_NO_HANDSHAKE}")

    def make(self, *more: str, **how: Any) -> str:
        """Return the line of a full handshake that keeps its session."""
        return self.line('-sess_out "$session"', *more, **how)

    def offer(self, *more: str, **how: Any) -> str:
        """Return the line that offers the kept session."""
        return self.line('-sess_in "$session"', *more, **how)


def _server_name(name: str) -> list[str]:
    """RFC 6066 3: an address is no server name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return ["-servername", name]
    return ["-noservername"]


@dataclass(frozen=True)
class _Case:
    """A finding, and the addresses that it is about."""

    results: Mapping[str, Any]
    row: Mapping[str, Any]
    issuer: _Client
    redeemer: _Client

    @property
    def reason(self) -> str:
        """What the finding's stable reason is."""
        return str(self.row["reason"])

    @property
    def data(self) -> Mapping[str, Any]:
        """What was measured, in figures."""
        data: Mapping[str, Any] = self.row.get("data", {})
        return data

    def session(self, *lines: str) -> tuple[str, ...]:
        """Return lines with a file for a session around them."""
        return (_KEEP, *lines, _END)

    def watched(self, *lines: str) -> tuple[str, ...]:
        """Return the same of lines of which some wait for somebody to do something."""
        return ("{", *self.session(*lines), "}")


class _Told(NamedTuple):
    """The lines, what a sound target prints, and what shows the fault."""

    lines: tuple[str, ...]
    sound: str
    seen: str


def recipe(results: Mapping[str, Any], row: Mapping[str, Any]) -> Recipe | None:
    """Return how to see a finding by hand; None of one that tells of nothing wrong.

    Args:
        results: the result object that the finding is in. A vantage point's own has no
            ``probed_with``: give it the controller's.
        row: one of its ``checks``.
    """
    if row["status"] not in _TOLD or row["reason"] in ("interrupted", "not_measured"):
        return None
    case = _case(results, row)
    why_not = _NOT_BY_OPENSSL.get(row["id"], "")
    if row["reason"] in _NO_CONNECTION:
        told = _connection(case)
        why_not = ""
    elif row["reason"] == "harness_error" or (why_not and row["id"] not in _RECIPES):
        told = _Told((), "", "")
    elif row["reason"].startswith("mqtt_"):
        told = _mqtt(case)
    else:
        told = _RECIPES.get(row["id"], _resumes)(case)
    return Recipe((_START, *told.lines) if told.lines else (), told.sound, told.seen,
                  _harness(row), why_not)


def _case(results: Mapping[str, Any], row: Mapping[str, Any]) -> _Case:
    addresses = {one["name"]: one for one in (*results["nodes"],
                                              *results.get("load_balancers", ()))}
    names = [name if name in addresses else results["nodes"][0]["name"]
             for name in row["subject"].split("->")]
    issuer, redeemer = (_client(results, addresses[name]) for name in (names[0], names[-1]))
    return _Case(results, row, issuer, redeemer)


def _client(results: Mapping[str, Any], address: Mapping[str, Any],
            port: int | None = None, *, anonymous: bool = False) -> _Client:
    """Return the client of an address, or of one of its ports; with the run's own certificate."""
    files = results.get("probed_with", {})
    identity: list[str] = []
    if ca := files.get("ca"):
        identity += ["-CAfile", ca]
    if files.get("client_cert") and not anonymous:
        identity += ["-cert", files["client_cert"], "-key", files["client_key"]]
    return _Client(address["host"], port or address["port"], address["server_name"],
                   tuple(identity))


def _asked(by: str) -> str:
    """Return a line that waits until somebody has done something."""
    return f"read -rp {shlex.quote(f'Now {by}, then press Enter. ')} _"


def _harness(row: Mapping[str, Any]) -> str:
    words = ["ansible-playbook", "-i", "INVENTORY", "verify.yml"]
    names = row["subject"].split("->")
    if row["subject"] != "cluster":
        words += ["--limit", ",".join(dict.fromkeys(names))]
    if row["impact"] != "safe":
        words += ["-e", f"resumption_max_impact={row['impact']}"]
    return shlex.join(words)


# -- By check ------------------------------------------------------------------------------------

def _connection(case: _Case) -> _Told:
    client = case.redeemer
    # A name is compared with the certificate's only when asked for; so is an address.
    try:
        verify = f"-verify_ip {ipaddress.ip_address(client.server_name)}"
    except ValueError:
        verify = f"-verify_hostname {shlex.quote(client.server_name)}"
    return _Told(
        (client.line(verify, "-verify_return_error", seen=_SEEN + "|verify error"),),
        'it says "New"', _NO_CONNECTION[case.reason])


def _resumes(case: _Case) -> _Told:
    if case.reason == "resumed":
        return _Told(case.session(case.issuer.make(), case.issuer.offer()),
                'the second line says "New", since it is declared that nothing resumes',
                'it says "Reused"')
    return _Told(
        case.session(case.issuer.make(), case.issuer.offer()),
        'the first line says "New", the second "Reused"', _not_reused("the second"))


def _not_reused(which: str) -> str:
    return f'{which} says "New", or "no handshake"'


def _session_id(case: _Case) -> _Told:
    return _Told(
        (case.issuer.line(seen=_SEEN + "|Session-ID:"),),
        '"Session-ID:" is followed by 2 to 64 hexadecimal digits',
        "nothing follows it, or more")


def _shared(case: _Case) -> bool:
    """Tell whether nodes are declared to resume each other's sessions."""
    return any(cell["expected"] == "resumed" and cell["issuer"] != cell["redeemer"]
               for cell in case.results["matrix"])


def _elsewhere(case: _Case) -> _Told:
    lines = case.session(case.issuer.make(), case.redeemer.offer())
    if _shared(case):
        return _Told(lines, 'the second line says "Reused"', _not_reused("it"))
    return _Told(
        lines, 'both lines say "New"',
        'the second says "Reused"' if case.reason == "resumed_elsewhere" else
        'the second shows an alert, or "no handshake"')


def _back_home(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(), case.redeemer.offer(), case.issuer.offer()),
        f'the lines say "New", "{"Reused" if _shared(case) else "New"}" and "Reused"',
        _not_reused("the third"))


def _repeatedly(case: _Case) -> _Told:
    loop = f"for i in $(seq 10); do {case.issuer.offer()}; done"
    return _Told(
        case.session(case.issuer.make(), loop),
        'it says "New" once and then "Reused" ten times',
        'one of the ten is "New" or "no handshake"')


def _at_once(case: _Case) -> _Told:
    loop = f"for i in $(seq 16); do ({case.issuer.offer()}) & done; wait"
    return _Told(
        case.session(case.issuer.make(), loop),
        'it says "New" once and then "Reused" 16 times', 'one of the 16 is "New" or "no handshake"')


def _mqtt(case: _Case) -> _Told:
    offer = case.issuer.offer("-quiet", "-no_ign_eof").partition(" </dev/null")[0]
    return _Told(
        case.session(case.issuer.make(), f"{_CONNECT} | {offer} 2>/dev/null | od -An -tx1"),
        'the last line prints CONNACK, "20 02 00" and the return code "00", over a resumed '
        "connection", "it prints nothing or another code (05 where the target wants a "
        "password, which is left out here)")


def _versions(case: _Case) -> _Told:
    # Debian's OpenSSL refuses TLS 1.1 and older by itself unless the security level is lowered.
    lines = tuple(f"echo TLS {shown}; {case.issuer.line(*more, version=version)}"
                  for shown, version, more in (
                      ("1.0", "-tls1", ("-cipher DEFAULT@SECLEVEL=0",)),
                      ("1.1", "-tls1_1", ("-cipher DEFAULT@SECLEVEL=0",)),
                      ("1.2", "-tls1_2", ()), ("1.3", "-tls1_3", ())))
    return _Told(
        lines, 'each declared version says "New, TLSv…", every other one an '
        'alert or "no handshake"', f"another version does: {_first(case)}")


def _first(case: _Case) -> str:
    return str(case.row["message"]).partition(". ")[0].rstrip(".")


def _tickets(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(seen=_SEEN),
                     case.issuer.offer(ticket=True, seen=_SEEN + "|TLS session ticket:")),
        'the second line, which asks for a ticket as well, says "Reused"',
        _not_reused("the second"))


def _forged(case: _Case) -> _Told:
    # SSL_SESSION in DER has the 32 bytes of the session ID (04 20) before the master secret.
    alter = ('openssl sess_id -in "$session" -outform DER | perl -0777 -pe '
             """'s/\\x04\\x20\\K(.)/$1 ^ "\\x01"/es' | """
             'openssl sess_id -inform DER -out "$session"')
    return _Told(
        case.session(case.issuer.make(), alter, case.issuer.offer()),
        'both lines say "New": the ID differs in one bit from what the node issued',
        'the second says "Reused", shows an alert, or "no handshake"')


def _other_suite(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(), _SUITE, case.issuer.offer(_WITHOUT_SUITE)),
        'the second handshake says "New" with another cipher suite',
        'it says "wrong cipher returned": the node resumed with a suite that was not offered')


_SUITE = """suite=$(openssl sess_id -in "$session" -text -noout | sed -n 's/.*Cipher *: *//p')"""
_WITHOUT_SUITE = '-cipher "ALL:!$suite"'


def _after_alert(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(), _SUITE, case.issuer.offer(_WITHOUT_SUITE),
                     case.issuer.offer()),
        'where the second line says "wrong cipher returned", openssl has sent a fatal alert, '
        'and the third must say "New"', 'the third says "Reused"')


def _other_name(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(), case.issuer.offer(name="other.invalid")),
        'both lines say "New", or the second shows an alert', 'the second says "Reused"')


def _extended(case: _Case) -> _Told:
    seen = _SEEN + "|Extended master secret"
    return _Told(
        case.session(case.issuer.make(seen=seen), case.issuer.offer(seen=seen)),
        'both say "Extended master secret: yes"', "they say no, or differ")


def _renegotiation(case: _Case) -> _Told:
    return _Told(
        case.session(case.issuer.make(),
                     case.issuer.offer(seen=_SEEN + "|Secure Renegotiation")),
        'the second says "Reused" and "Secure Renegotiation IS supported"',
        'it says "IS NOT supported"')


def _same_ids(case: _Case) -> _Told:
    one = case.issuer.line(seen="Session-ID:")
    return _Told(
        (f"for i in $(seq 256); do {one}; done | sort | uniq -cd",),
        "nothing is printed, since all IDs differ; that they cannot be guessed is not to be "
        "seen by hand",
        "an ID is printed with how often it came")


def _quality(case: _Case) -> _Told:
    return _Told(
        (case.issuer.line(seen="^New,|Compression:|alert"),),
        'the cipher suite begins with "ECDHE" or "DHE", and compression is NONE', _first(case))


def _other_domain(case: _Case) -> _Told:
    """SEC-01, -02: issued at one listener, offered at another; which ones, the evidence tells."""
    crossing = _crossing(case)
    if crossing is None:
        return _resumes(case)
    issue, offer = crossing
    [node] = [one for one in case.results["nodes"] if one["name"] == offer["endpoint"]]
    own, shown, refused = (
        ((), (), "the client is asked for a certificate, and has none")
        if case.row["id"] == "SEC-02" else
        (_of_domain(case, issue)[0], _SHOWN,
         "the client's certificate is not of that listener's trust domain"))
    first, second = (_client(case.results, node, one["port"], anonymous=True)
                     for one in (issue, offer))
    return _Told(
        case.session(*own, first.make(*shown), second.line(*shown), second.offer(*shown)),
        'the first line says "New", the others an alert, or "no handshake", without a session and '
        f"with one: {refused}",
        'the last says "Reused"' if case.reason.startswith("resumed") else
        'the last says "New" and shows no alert')


def _crossing(case: _Case) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return a handshake and the one that offers its session elsewhere; what got in before all."""
    handshakes = case.results["handshakes"]
    issued = {one["server_id"]: one for one in handshakes.values()
              if one["server_id"] and not one["offered_id"]}
    crossings = [(issued[one["offered_id"]], one) for key in case.row["evidence"]["handshakes"]
                 if (one := handshakes.get(key)) and one["offered_id"] in issued]
    crossings.sort(key=lambda both: (both[0]["port"] == both[1]["port"],
                                     both[1]["outcome"] not in ("resumed", "full")))
    return next(iter(crossings), None)


_SHOWN = ('-cert "$cert"', '-key "$key"')


def _of_domain(case: _Case, handshake: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """Return lines that set ``$cert`` and ``$key`` of a listener's client, and who signed it.

    No result tells where keys lie, and an older one no certificates: that is left to who types the
    lines.
    """
    for domain in case.results.get("probed_with", {}).get("trust_domains", ()):
        if (domain["node"], domain["port"]) == (handshake["endpoint"], handshake["port"]):
            cert = shlex.quote(domain["client_cert"])
            return (f"cert={cert} key=client-key.pem   # its key",), domain["ca_cert"]
    return (("cert=client-cert.pem key=client-key.pem   # of a client that the listener lets in",),
            None)


def _trust_ended(case: _Case) -> _Told:
    handshakes = case.results["handshakes"]
    issue = next((handshakes[key] for key in case.row["evidence"]["handshakes"]
                  if key in handshakes), None)
    if issue is None:
        return _resumes(case)
    [node] = [one for one in case.results["nodes"] if one["name"] == issue["endpoint"]]
    own, signer = _of_domain(case, issue)
    until = _asked(f"replace the CA of the listener at port {issue['port']} and reopen it"
                   if case.row["id"] == "SEC-05" else "wait until the certificate has expired")
    end: tuple[str, ...] = ()
    if case.row["id"] == "SEC-06" and signer is not None:
        own = _expiring(signer)
        until, end = f"sleep {_VALID_S + 1}", ('rm -r "$folder"',)
    client = _client(case.results, node, issue["port"], anonymous=True)
    lines = (*own, client.make(*_SHOWN), until, client.line(*_SHOWN), client.offer(*_SHOWN), *end)
    return _Told(
        case.session(*lines) if end else case.watched(*lines),
        'the first line says "New", the others an alert, or "no handshake", without a session and '
        "with one",
        'the last says "Reused"' if case.reason.startswith("resumed") else
        'the last says "New" and shows no alert')


_VALID_S = 6
_CA = (r"[ca]\ndefault_ca=a\n[a]\ndatabase=%s/index\nnew_certs_dir=%s\nrand_serial=yes\n"
       r"default_md=sha256\npolicy=b\n[b]\ncommonName=supplied\n")
"""The least that ``openssl ca`` asks for; no other command of OpenSSL 3.0 ends a certificate before
the day is over."""


def _expiring(ca_cert: str) -> tuple[str, ...]:
    """Return lines that make ``$cert`` and ``$key``, of a client that expires, in ``$folder``."""
    ca = shlex.quote(ca_cert)
    return (
        f"ca={ca} ca_key=ca-key.pem   # its key",
        'folder=$(mktemp -d); cert=$folder/cert key=$folder/key; touch "$folder/index"',
        f"""printf '{_CA}' "$folder" "$folder" >"$folder/ca\"""",
        ('openssl req -new -newkey rsa:2048 -nodes -keyout "$key" -subj /CN=by-hand '
         '-out "$folder/request" 2>/dev/null'),
        ('openssl ca -batch -notext -config "$folder/ca" -cert "$ca" -keyfile "$ca_key" '
         f"""-in "$folder/request" -enddate "$(date -u -d '+{_VALID_S} seconds' +%y%m%d%H%M%SZ)" """
         '-out "$cert" 2>/dev/null'))


def _restart(case: _Case) -> _Told:
    return _Told(
        case.watched(case.issuer.make(), _asked(f"restart {case.row['subject']}"),
                     case.issuer.offer(), case.issuer.make(), case.issuer.offer()),
        f'the lines say "New", "{"Reused" if _shared(case) else "New"}", "New" and "Reused"',
        _first(case))


def _fail_over(case: _Case) -> _Told:
    handshakes = case.results["handshakes"]
    others = [one["endpoint"] for key in case.row["evidence"]["handshakes"]
              if (one := handshakes.get(key)) and one["endpoint"] != case.row["subject"]]
    nodes = {one["name"]: one for one in case.results["nodes"]}
    names = [name for name in (*others, *nodes) if name in nodes and name != case.row["subject"]]
    if not names:
        return _resumes(case)
    refuge = _client(case.results, nodes[names[0]])
    return _Told(
        case.watched(case.issuer.make(), _asked(f"kill {case.row['subject']}"),
                     refuge.offer('-sess_out "$session"'), refuge.offer()),
        f'the first line says "New", the second, of {names[0]}, too (or "Reused" where the nodes '
        'are declared to share sessions), the third "Reused"', _first(case))


def _cut_off(case: _Case) -> _Told:
    name = case.row["subject"]
    return _Told(
        case.watched(case.issuer.make(), _asked(f"cut {name} off from its peers"),
                     case.issuer.offer(), _asked("bring it back"), case.issuer.offer()),
        'the lines say "New", "Reused" and "Reused"', _first(case))


def _lifetime(case: _Case) -> _Told:
    lifetime = float(case.data.get("lifetime_s", 0))
    early = case.reason == "expired_early"
    wait = f"sleep {0.7 * lifetime:g}" if early else f"sleep {1.1 * lifetime + 1.5:g}"
    expected, wrong = ("Reused", "New") if early else ("New", "Reused")
    return _Told(
        case.session(case.issuer.make(), wait, case.issuer.offer()),
        f'the first line says "New", the second, {"before" if early else "after"} the lifetime '
        f'is over, "{expected}"', f'the second says "{wrong}"')


def _capacity(case: _Case) -> _Told:
    declared = int(case.data.get("declared", 1000))
    more = declared - 1 if case.reason != "remembers_more" else declared + declared // 4
    full = case.issuer.line(seen="^Reused,|alert|errno").removesuffix(f" {_NO_HANDSHAKE}")
    expected = "New" if case.reason == "remembers_more" else "Reused"
    return _Told(
        case.session(case.issuer.make(), f"for i in $(seq {more}); do {full}; done",
                     case.issuer.offer()),
        f'after {more} other sessions the last line says "{expected}"',
        f'it says "{"Reused" if expected == "New" else "New"}"')


def _balanced(case: _Case) -> _Told:
    loop = f"for i in $(seq 20); do {case.issuer.offer()}; done | sort | uniq -c"
    return _Told(
        case.session(case.issuer.make(), loop),
        'all 20 say "Reused" where the balancer keeps a client, or a session, to one node or nodes '
        'share sessions; otherwise about one in as many as there are nodes does', _first(case))


def _speed(case: _Case) -> _Told:
    client = case.issuer
    host = f"[{client.host}]" if ":" in client.host else client.host
    ca = client.identity[:2]
    return _Told(
        tuple(shlex.join(["openssl", "s_time", "-connect", f"{host}:{client.port}", "-tls1_2",
                          *ca, kind, "-time", "5"]) for kind in ("-new", "-reuse")),
        "it prints connections a second by its own processor time, and by the clock",
        _first(case))


_RECIPES: Mapping[str, Callable[[_Case], _Told]] = {
    "CORE-01": _session_id, "CORE-02": _resumes, "CORE-03": _elsewhere, "CORE-04": _back_home,
    "CORE-05": _repeatedly, "CORE-06": _mqtt, "CORE-07": _at_once, "CORE-08": _versions,
    "CORE-09": _tickets, "NEG-01": _forged, "NEG-02": _forged, "NEG-05": _other_suite,
    "NEG-08": _after_alert, "NEG-09": _other_name, "NEG-10": _extended, "NEG-11": _renegotiation,
    "SEC-01": _other_domain, "SEC-02": _other_domain, "SEC-03": _same_ids, "SEC-04": _quality,
    "SEC-05": _trust_ended, "SEC-06": _trust_ended, "LB-01": _balanced, "LIFE-01": _restart,
    "LIFE-02": _fail_over, "LIFE-03": _lifetime, "LIFE-04": _capacity, "LIFE-05": _cut_off,
    "PERF-01": _speed}

_NOT_BY_OPENSSL = {
    "NEG-02": "openssl can flip a bit, but not shorten the ID.",
    "NEG-03": "openssl cannot offer an ID of more than 32 bytes.",
    "NEG-04": "openssl notices that the node's Finished does not fit its wrong master secret and "
              "ends the handshake before it sends its own.",
    "NEG-06": "openssl offers a session at its own protocol version only.",
    "NEG-07": "openssl cannot leave a handshake unfinished.",
    "NEG-08": "openssl sends a fatal alert only where the node itself does something wrong.",
    "NEG-10": "openssl 3.0 always asks for extended master secret.",
    "NEG-12": "openssl cannot split a ClientHello or add unknown extensions to it.",
    "LIFE-02": "killing the node is up to you.",
    "LIFE-05": "cutting the node off from its peers is up to you.",
}
"""Of checks that send more than openssl can, what it cannot do."""

_NO_CONNECTION = {
    "connection_refused": 'it says "connect:errno=111" and "no handshake"',
    "name_not_resolved": 'it says ":error:" with "name or service not known", or "no handshake"',
    "certificate_not_trusted": 'it says "verify error:num=19", 20 or 21',
    "certificate_root_missing": 'it says "verify error:num=2"',
    "certificate_self_signed": 'it says "verify error:num=18"',
    "certificate_expired": 'it says "verify error:num=10"',
    "certificate_not_yet_valid": 'it says "verify error:num=9"',
    "certificate_too_weak": 'it says "verify error:num=66", 67 or 68',
    "certificate_revoked": 'it says "verify error:num=23"',
    "certificate_wrong_purpose": 'it says "verify error:num=26"',
    "certificate_rejected": 'it says "verify error:num=" and what is wrong',
    "certificate_name_mismatch": 'it says "verify error:num=62" (64 of an address)',
    "not_tls": 'it says "wrong version number" or the like',
    "timeout": "it prints nothing: end it with Ctrl-C",
    "io_error": 'it says "connect:errno=" and "no handshake"',
}
"""Reasons of any check that are about the connection alone, and what shows each."""
