#!/usr/bin/env bash
# Tests TLS 1.2 session resumption by session ID with nothing but a shell and openssl; see --help.
#
# What it has to run on, and what that forbids:
# - bash 3.2, which macOS has: no associative arrays, no mapfile, no `wait -n`, no `read -t 0.1`,
#   "${empty[@]}" is an error under `set -u`, and a here-string is a temporary file.
# - POSIX tools only: macOS has no `timeout`, so deadlines are kept by polling (see `converse`).
# - OpenSSL 1.1.1 to 3.x. Everything passed to s_client is in 1.1.1 already, and nothing is read
#   that they print differently: not the "Protocol:" of 3.6, not the error numbers. That a peer hung
#   up is "unexpected eof while reading" in 3.x and only "errno=0" in 1.1.1, so it is told by what
#   is missing. -state prints the same handshake messages and alerts in all of them. The protocol in
#   "New, TLSv1.2, Cipher is" is the cipher suite's, in all of them, and says nothing.
# - Signals at any moment. A trap only notes its signal: one that exits can be interrupted by the
#   next, and what was to be cleaned up stays. And bash 5.2 runs traps even while it looks for the
#   end of a $(...), and loses track of both: from `prepare` on there is none, functions answer in
#   variables, and nothing of this file is left to be parsed.
set -euo pipefail
set -f  # nothing is globbed, and words from openssl must not be
export LC_ALL=C  # lengths in bytes, messages in English
umask 077  # the session file holds the master secret

default_port=8883
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
default_ca=$here/certs/ca.pem

usage() {
  cat <<'USAGE'
Usage: ./tls1.2-resumption-test.sh [OPTION]... HOST[:PORT]...

Connects with TLS 1.2, receives a session ID, disconnects, reconnects offering
the session ID, and verifies that the session was resumed. Sends MQTT CONNECT
and DISCONNECT each time. With several endpoints it does so with each, then
offers each one's session to every other, and prints the matrix: - where there
was none to offer or nobody to offer it to, and refused where the client is.

  ./tls1.2-resumption-test.sh localhost:8883
  ./tls1.2-resumption-test.sh localhost:8883 localhost:8884 localhost:8885
  ./tls1.2-resumption-test.sh '[::1]:8883'       (8883 is the default port)

  --ca FILE          verify the server's certificate with this CA (default:
                     certs/ca.pem beside this script; without it, no verifying)
  --insecure         do not verify the server's certificate
  --servername NAME  ask for NAME (SNI), and verify the certificate for it
  --cert FILE        client certificate, for a server that demands one (mTLS),
  --key FILE         and its key: certs/client-cert.pem, certs/client-key.pem
  --timeout SECONDS  for each connection, CONNACK included (default: 10)
  --help             print this

MQTT_USERNAME and MQTT_PASSWORD in the environment are sent in CONNECT.

"Resumed" means: openssl says Reused, the server sent no certificate, and the
session ID, cipher, protocol (TLSv1.2) and master key are those of the first
connection. The verdict is about TLS: that MQTT is refused or not spoken is
said, and fails the test only if MQTT went otherwise on the first connection.

Exit code: 0 if the session was resumed; with several endpoints, if each one
resumed its own session and none another's. 1 otherwise; the last lines say
why. 2 for wrong usage.
USAGE
}

# -- Printing ---------------------------------------------------------------------------------

# wrap INDENT FIRST TEXT: FIRST, then TEXT wrapped to 79 columns, its lines INDENT columns in.
wrap() {
  local indent=$1 line=$2 word
  local empty=$2
  for word in $3; do
    if [ "$line" != "$empty" ] && [ $((${#line} + 1 + ${#word})) -gt 79 ]; then
      printf '%s\n' "$line"
      printf -v empty '%*s' "$indent" ''
      line=$empty
    fi
    if [ "$line" = "$empty" ]; then line=$line$word; else line="$line $word"; fi
  done
  printf '%s\n' "$line"
}

# A detail of a step. 14 columns leave room for 32 bytes in hexadecimal.
detail() {
  local label
  printf -v label '  %-12s' "$1"
  wrap 14 "$label" "$2"
}

# A session ID, and the same as Erlang's logs print it: on one line, to be searched for.
detail_id() {
  local at binary=''
  detail 'Session ID' "${1:-none}"
  case $1 in ('' | *[!0-9A-Fa-f]*) return ;; esac
  for ((at = 0; at < ${#1}; at += 2)); do binary=$binary,$((16#${1:at:2})); done
  detail 'In Erlang' "<<${binary#,}>>"
}

# A line of the head or of the result.
head_line() {
  local label
  printf -v label '%-10s' "$1"
  wrap 10 "$label" "$2"
}

wrong_usage() {
  wrap 0 '' "$1" >&2
  wrap 0 '' 'See ./tls1.2-resumption-test.sh --help' >&2
  exit 2
}

impossible() {
  end_if_signalled
  wrap 0 '' "$1" >&2
  exit 1
}

# -- What the user wants ----------------------------------------------------------------------

names=() servernames=() checks=()
ca='' insecure='' servername='' cert='' key='' timeout=10

# add_endpoint HOST[:PORT]
add_endpoint() {
  local host port='' check=-verify_ip name known
  case $1 in
    (*:) wrong_usage "$1: the port is missing after the colon." ;;
    (\[*\]) host=${1#?}; host=${host%?} ;;
    (\[*\]:*) host=${1#?}; host=${host%%\]*}; port=${1##*\]:} ;;
    (*://* | \[*) wrong_usage "$1: an endpoint is written HOST:PORT, like localhost:8883." ;;
    (*:*:*) wrong_usage "$1: an IPv6 address is written in brackets, like [::1]:8883." ;;
    (*:*) host=${1%:*}; port=${1##*:} ;;
    (*) host=$1 ;;
  esac
  port=${port:-$default_port}
  [[ $port =~ ^[0-9]{1,5}$ ]] && [ $((10#$port)) -ge 1 ] && [ $((10#$port)) -le 65535 ] ||
    wrong_usage "$1: the port must be a number from 1 to 65535."
  port=$((10#$port))
  if [[ $1 == \[* ]]; then
    [[ $host =~ ^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?$ ]] ||
      wrong_usage "$1: what is in the brackets must be an IPv6 address."
    name="[$host]:$port"
  else
    [[ $host =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] ||
      wrong_usage "$1: an endpoint is written HOST:PORT, like localhost:8883."
    name=$host:$port
    [[ $host =~ ^[0-9.]+$ ]] || check=-verify_hostname
  fi
  for known in ${names[@]+"${names[@]}"}; do
    [ "$known" != "$name" ] || wrong_usage "$name is named twice."
  done
  names+=("$name")
  # SNI holds host names only (RFC 6066, 3).
  if [ $check = -verify_hostname ]; then servernames+=("$host"); else servernames+=(''); fi
  checks+=("$check ${host%%\%*}")
}

readable() {
  if [ ! -f "$2" ] || [ ! -r "$2" ]; then wrong_usage "$1 $2: there is no such file to read."; fi
}

parse_arguments() {
  local option value
  while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
      (--help | -h) usage; exit 0 ;;
      (--insecure) insecure=yes; continue ;;
      (--*=*) value=${option#*=}; option=${option%%=*} ;;
      (--ca | --cert | --key | --servername | --timeout)
        [ $# -gt 0 ] || wrong_usage "$option needs a value."
        value=$1
        shift ;;
      (-*) wrong_usage "$option: there is no such option." ;;
      (*) add_endpoint "$option"; continue ;;
    esac
    [ -n "$value" ] || wrong_usage "$option needs a value."
    case $option in
      (--ca) ca=$value ;;
      (--cert) cert=$value ;;
      (--key) key=$value ;;
      (--servername) servername=$value ;;
      (--timeout) timeout=$value ;;
      (*) wrong_usage "$option: there is no such option." ;;
    esac
  done
  check_arguments
}

check_arguments() {
  [ ${#names[@]} -gt 0 ] || wrong_usage 'Name the server to test, like localhost:8883.'
  [[ $timeout =~ ^[1-9][0-9]{0,3}$ ]] ||
    wrong_usage "--timeout $timeout: must be whole seconds, from 1 to 9999."
  if [ -n "$servername" ] && ! [[ $servername =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]]; then
    wrong_usage "--servername $servername: must be a host name."
  fi
  if [ -n "$ca" ]; then
    [ -z "$insecure" ] || wrong_usage 'Either --ca or --insecure, not both.'
    readable --ca "$ca"
  elif [ -z "$insecure" ] && [ -r "$default_ca" ]; then
    ca=$default_ca
  fi
  if [ -n "$cert$key" ]; then
    if [ -z "$cert" ] || [ -z "$key" ]; then wrong_usage '--cert and --key go together.'; fi
    readable --cert "$cert"
    readable --key "$key"
    # openssl would ask for the passphrase on the terminal, once a connection.
    if grep -q ENCRYPTED "$key"; then
      wrong_usage "--key $key: is protected by a passphrase; give a key without one."
    fi
  fi
  if [ -n "$password" ] && [ -z "$username" ]; then
    wrong_usage 'MQTT_PASSWORD needs MQTT_USERNAME (MQTT 3.1.1 has no password without a name).'
  fi
  # So much fits into a pipe that nobody reads yet.
  [ $((${#username} + ${#password})) -le 8000 ] ||
    wrong_usage 'MQTT_USERNAME and MQTT_PASSWORD together must not exceed 8000 bytes.'
}

check_openssl() {
  local upgrade='on macOS: brew install openssl, then put "brew --prefix openssl"/bin first in PATH'
  command -v openssl >/dev/null || impossible 'openssl was not found; install OpenSSL 1.1.1 or newer.'
  openssl=$(openssl version 2>/dev/null) || impossible 'openssl does not run: "openssl version" fails.'
  case $openssl in
    ("OpenSSL 1.1.1"* | "OpenSSL "[3-9].* | "OpenSSL "[1-9][0-9].*) ;;
    (LibreSSL*) impossible "The openssl in PATH is $openssl, which this test does not support;
                            install OpenSSL 1.1.1 or newer ($upgrade)." ;;
    (*) impossible "The openssl in PATH is $openssl, which is too old or not OpenSSL;
                    install OpenSSL 1.1.1 or newer ($upgrade)." ;;
  esac
  openssl=${openssl#* }
  openssl="OpenSSL ${openssl%% *}"
}

# -- What is cleaned up -----------------------------------------------------------------------

work='' client='' signalled=''

# Nothing of ours outlives us: no session file, no openssl.
# shellcheck disable=SC2329 # a trap calls it
clean_up() {
  # A child that a signal ends before it has become another program comes here too, in a state in
  # which bash does not heed the status of a test.
  case ${BASHPID:-$$} in ("$$")
    trap '' HUP INT QUIT PIPE TERM
    exec 2>/dev/null  # on which bash writes whom it saw killed
    kill -KILL %% || true
    wait || true
    if [ -n "$work" ]; then rm -rf -- "$work"; fi ;;
  esac
}

# Called after everything that takes time, and those end early when a signal came.
end_if_signalled() { [ -z "$signalled" ] || exit "$signalled"; }

# Makes a folder and says its name. Signals are ignored, or Ctrl-C could end mktemp after it made the
# folder and before it said so.
make_folder() {
  local made
  trap '' HUP INT QUIT TERM
  made=$(mktemp -d "$1/tls-resumption.XXXXXX") || return
  if ! mkfifo "$made/in"; then
    rm -rf -- "$made"
    return 1
  fi
  printf '%s\n' "$made"
}

prepare() {
  local folder=${TMPDIR:-/tmp}
  trap clean_up EXIT
  trap 'signalled=129' HUP
  trap 'signalled=130' INT
  trap 'signalled=131' QUIT
  trap 'signalled=143' TERM
  # Backquotes: bash does not parse to find their end (see above).
  # shellcheck disable=SC2006
  work=`make_folder "${folder%/}" 2>/dev/null` ||
    impossible "No temporary folder could be made in $folder; set TMPDIR to a folder of yours."
  end_if_signalled
}

# -- One connection ---------------------------------------------------------------------------

# What `connect` leaves behind of a connection. `why` is empty when TLS worked, and `denied` is not
# when the server answered TLS and then let nobody in.
why='' denied='' said='' protocol='' cipher='' id='' master='' messages='' mqtt='' closed=''
# What openssl reports on the way there.
connected='' offset=0 alert_read='' verify_error='' not_tls='' refused='' unresolved=''

byte() {
  local octal
  printf -v octal %03o "$1"
  printf '%b' "\\0$octal"
}

# A string with its length in front (MQTT 3.1.1, 1.5.3).
string() {
  byte $((${#1} >> 8))
  byte $((${#1} & 255))
  printf '%s' "$1"
}

# CONNECT (MQTT 3.1.1, 3.1): clean session, keep alive of a minute, a client id that is new each
# time and of a form every server has to accept (23 letters and digits at most).
mqtt_connect() {
  local client_id=resume$$$RANDOM$RANDOM flags=2 length
  length=$((10 + 2 + ${#client_id}))
  if [ -n "$username" ]; then flags=$((flags | 128)) length=$((length + 2 + ${#username})); fi
  if [ -n "$password" ]; then flags=$((flags | 64)) length=$((length + 2 + ${#password})); fi
  byte 16
  while [ $length -gt 127 ]; do
    byte $((length & 127 | 128))
    length=$((length >> 7))
  done
  byte $length
  string MQTT
  byte 4
  byte $flags
  byte 0
  byte 60
  string "$client_id"
  if [ -n "$username" ]; then string "$username"; fi
  if [ -n "$password" ]; then string "$password"; fi
}

running() { kill -0 "$client" 2>/dev/null; }

# Whether the connection's time is up. Seconds are whole, so it gets up to one more, never less.
expired() { [ -n "$signalled" ] || [ $((SECONDS - began)) -gt "$timeout" ]; }

# Bash would write on standard error that a signal ended it.
nap() { { sleep 0.05 || [ -n "$signalled" ] || sleep 1; } 2>/dev/null; }

# Reads what s_client says of the session, if it has said all of it: it does when the handshake is
# over, one way or the other. What the server sends follows at `offset`.
read_session() {
  local line in_session='' at=0
  offset=0
  while IFS= read -r line; do
    at=$((at + ${#line} + 1))
    case $line in
      (New,* | Reused,*) said=${line%%,*} ;;
      (SSL-Session:) in_session=yes ;;
      (*' Protocol  : '*) protocol=${line#*: } ;;
      (*' Cipher    : '*) cipher=${line#*: } ;;
      (*' Session-ID: '*) id=${line#*: } ;;
      (*' Master-Key: '*) master=${line#*: } ;;
      (---) if [ -n "$in_session" ]; then offset=$at; break; fi ;;
    esac
  done <"$work/out"
  [ $offset -gt 0 ]
}

# Reads the handshake messages and alerts that -state reports, and what went wrong.
read_events() {
  local line name
  connected='' messages='' alert_read='' verify_error='' not_tls='' refused='' unresolved='' closed=''
  while IFS= read -r line; do
    name=''
    case $line in
      ('SSL_connect:SSLv3/TLS read server hello') name=ServerHello ;;
      ('SSL_connect:SSLv3/TLS read server certificate') name=Certificate ;;
      ('SSL_connect:SSLv3/TLS read server key exchange') name=ServerKeyExchange ;;
      ('SSL_connect:SSLv3/TLS read server certificate request') name=CertificateRequest ;;
      ('SSL_connect:SSLv3/TLS read server done') name=ServerHelloDone ;;
      ('SSL_connect:SSLv3/TLS read finished') name=Finished ;;
      ('SSL3 alert read:fatal:'*) alert_read=${line##*:} ;;
      ('SSL3 alert write:warning:close notify') closed=yes ;;
      # Without --ca it is reported all the same, and of no consequence.
      ('verify error:num='*) [ -z "$ca" ] || verify_error=${line#verify error:num=} ;;
      (*'wrong version number'* | *'packet length too long'* | *'record layer failure'*)
        not_tls=yes ;;
      (*'onnection refused'*) refused=yes ;;
      (*':BIO_lookup'* | *':getaddrinfo'*) unresolved=${line##*:} ;;
    esac
    # The first is reported when there is a connection, and "CONNECTED" only once it is over.
    case $line in (SSL_connect:*) connected=yes ;; esac
    case ", $messages, " in (*", $name, "*) name='' ;; esac
    if [ -n "$name" ]; then messages=${messages:+$messages, }$name; fi
  done <"$work/err"
}

came() { case ", $messages, " in (*", $1, "*) return 0 ;; esac; return 1; }

# Reads the answer to CONNECT into `mqtt`, if it is there.
read_answer() {
  local bytes=''
  read_session || return 1
  { tail -c +$((offset + 1)) "$work/out" | od -An -v -tx1 | tr -s ' \n' '  '; } \
    >"$work/bytes" 2>/dev/null
  IFS= read -r bytes <"$work/bytes" || true
  bytes=${bytes# }
  # Not from the server: s_client's own words.
  while [[ $bytes == '72 65 61 64 20 52 20 42 4c 4f 43 4b 0a '* ]]; do  # "read R BLOCK"
    bytes=${bytes:39}
  done
  case $bytes in
    ('20 02 '??' '??' '*) mqtt=$((16#${bytes:9:2})) ;;
    ('' | '20 ' | '20 02 ' | '20 02 '??' ') return 1 ;;
    ('63 6c 6f 73 65 64 0a '*) mqtt=closed ;;  # "closed"
    (*) mqtt=nonsense ;;
  esac
}

# CONNECT, CONNACK, DISCONNECT with the s_client that was just started, then its end. Sets `late` if
# the time was up before. s_client reads standard input only when the handshake is over: a
# certificate that it refuses has been refused by then, and nobody else gets the password.
converse() {
  local began=$SECONDS
  mqtt_connect >&3
  while ! read_answer && running && ! expired; do nap; done
  if [ -z "$mqtt" ]; then
    # It may have ended after the look at its output.
    read_answer || if running; then mqtt=none; else mqtt=closed; fi
  fi
  late=''
  if running && expired; then late=yes; fi
  if [ "$mqtt" = 0 ]; then printf '\340\000' >&3; fi
  # At the end of its input s_client says close_notify. Killing it would not: an OpenSSL server then
  # drops the session, as RFC 2246 demanded.
  exec 3>&-
  began=$SECONDS
  while [ $offset -gt 0 ] && running && ! expired; do nap; done
  kill -KILL "$client" 2>/dev/null || true
  { wait "$client"; } 2>/dev/null || true
}

# connect INDEX OPTION FILE: one connection to an endpoint. OPTION is -sess_out, the session goes
# into FILE, or -sess_in, it is offered from there.
connect() {
  local name=${servername:-${servernames[$1]}} late=''
  local arguments=(-connect "${names[$1]}" -tls1_2 -no_ticket -nocommands -state "$2" "$3")
  why='' said='' protocol='' cipher='' id='' master='' mqtt=''
  # Never left to s_client: it would send some addresses as names.
  if [ -n "$name" ]; then arguments+=(-servername "$name"); else arguments+=(-noservername); fi
  if [ -n "$ca" ]; then
    arguments+=(-CAfile "$ca" -verify 9 -verify_return_error)
    if [ -n "$servername" ]; then
      arguments+=(-verify_hostname "$servername")
    else
      # shellcheck disable=SC2206 # an option and its value
      arguments+=(${checks[$1]})
    fi
  fi
  if [ -n "$cert" ]; then arguments+=(-cert "$cert" -key "$key"); fi
  : >"$work/out"
  : >"$work/err"
  # Both ends at once, so that opening does not wait for the other; s_client must not have the
  # writing one, or its input would never end.
  exec 3<>"$work/in"
  openssl s_client "${arguments[@]}" <"$work/in" >"$work/out" 2>"$work/err" 3>&- &
  client=$!
  converse
  end_if_signalled
  read_session || true
  read_events
  explain "$1" "$late"
  denied=''
  if [ -n "$why" ] && [ -z "$late$verify_error" ] && { [ -n "$alert_read" ] || came ServerHello; }; then
    denied=yes
  fi
}

# explain INDEX LATE: sets `why` to the reason why TLS did not work, if it did not.
explain() {
  local at=${names[$1]} number
  if [ $offset -gt 0 ] && came Finished && [ -z "$alert_read" ]; then
    [ "$protocol" = TLSv1.2 ] || why="$at spoke $protocol and not TLSv1.2."
    return
  fi
  if [ -z "$connected" ]; then
    explain_unconnected "$at" "$2"
  elif [ -n "$verify_error" ]; then
    number=${verify_error%%:*}
    case $number in
      (62 | 64) why="The certificate of $at is for another name or address (${verify_error#*:});
          give a name that is in it with --servername." ;;
      (9 | 10) why="The certificate of $at is not valid now: ${verify_error#*:}." ;;
      (*) why="The certificate of $at is not trusted (${verify_error#*:}): it was not signed by
          the CA in $ca; name the right CA with --ca, or do not verify it with --insecure." ;;
    esac
  elif came CertificateRequest && [ -n "$alert_read" ] && [ -z "$cert" ]; then
    why="$at demands a client certificate (alert: $alert_read); give one with --cert and --key,
         like certs/client-cert.pem and certs/client-key.pem."
  elif came CertificateRequest && [ -n "$alert_read" ]; then
    why="$at refuses the client certificate $cert (alert: $alert_read)."
  elif [ "$alert_read" = 'protocol version' ]; then
    why="$at does not speak TLS 1.2 (alert: protocol version), perhaps TLS 1.3 only; session IDs
         need versions = [\"tlsv1.2\"] in the listener's ssl_options."
  elif [ "$alert_read" = 'handshake failure' ] || [ "$alert_read" = 'insufficient security' ]; then
    why="$at has no cipher suite in common with this openssl, or will not use TLS 1.2
         (alert: $alert_read)."
  elif [ -n "$alert_read" ]; then
    why="$at ended TLS with a fatal alert: $alert_read."
  elif [ -n "$not_tls" ]; then
    why="$at answers, but not with TLS; that port speaks something else."
  elif [ -n "$2" ] && came ServerHello; then
    why="$at stopped in the middle of the TLS handshake and said nothing more for $timeout s."
  elif [ -n "$2" ]; then
    why="$at accepts connections but did not answer the TLS handshake within $timeout s."
  elif came ServerHello; then
    why="$at broke off the TLS handshake without saying why."
  else
    why="$at closed the connection when TLS began; that port speaks no TLS (plain MQTT?), or the
         server takes no more connections."
  fi
}

explain_unconnected() {
  local first='' line
  if [ -n "$unresolved" ]; then
    why="The host name of $1 does not resolve ($unresolved)."
  elif [ -n "$refused" ]; then
    why="Nothing listens on $1 (connection refused); is the server started, and is this its port?"
  elif [ -n "$2" ]; then
    why="$1 did not accept a connection within $timeout s; is a firewall in between?"
  else
    while IFS= read -r line; do
      case $line in
        ([Cc]'ould not '*'private key'* | [Uu]'nable to load'*'private key'*)
          why="--key $key: openssl cannot read a private key from it." ;;
        ([Cc]'ould not '*certificate* | [Uu]'nable to load'*certificate*)
          why="--cert $cert: openssl cannot read a certificate from it." ;;
        (*'no certificate or crl found'*) why="--ca $ca: there is no certificate in it." ;;
        (*'key values mismatch'*) why="--key $key is not the key of --cert $cert." ;;
        (*:error:*) first=${first:-$line} ;;
      esac
      [ -z "$why" ] || return 0
    done <"$work/err"
    why="openssl s_client could not connect to $1: ${first:-it did not say why}"
  fi
}

# Sets `text` to what came of MQTT, given as `mqtt` is.
mqtt_text() {
  case $1 in
    (0) text='CONNECT accepted (CONNACK, return code 0)' ;;
    (1) text='CONNECT refused (return code 1: it does not speak MQTT 3.1.1)' ;;
    (2) text='CONNECT refused (return code 2: client identifier rejected)' ;;
    (3) text='CONNECT refused (return code 3: server unavailable)' ;;
    (4) text='CONNECT refused (return code 4: bad user name or password)' ;;
    (5) text='CONNECT refused (return code 5: not authorized)' ;;
    (none) text="CONNECT was not answered within $timeout s" ;;
    (closed) text='the connection was closed instead of answering CONNECT' ;;
    (nonsense) text='CONNECT was answered with something that is not MQTT 3.1.1' ;;
    (*) text="CONNECT refused (return code $1)" ;;
  esac
}

# -- Verdicts ---------------------------------------------------------------------------------

# Of the first connection to each endpoint; no `ids` where it issued no session, and `refusals` where
# it let nobody in.
ids=() masters=() ciphers=() mqtts=() refusals=()

# compared NAME VALUE FIRST-VALUE [MORE]: a detail of the verification.
compared() {
  if [ "$2" = "$3" ]; then detail "$1" "the same${4-}"; else detail "$1" "another one${4-}"; fi
}

# judge ISSUER REDEEMER: sets `outcome` to what the last connection was, which offered the issuer's
# session to the redeemer: resumed, full or failed (then `why` says why). One witness is not enough:
# a server without a cache issues session IDs as well.
judge() {
  local differs=''
  outcome=failed
  [ -z "$why" ] || return 0
  if [ "$said" = Reused ]; then
    [ "$id" = "${ids[$1]}" ] || differs="$differs, the session ID"
    [ "$cipher" = "${ciphers[$1]}" ] || differs="$differs, the cipher"
    [ "$master" = "${masters[$1]}" ] || differs="$differs, the master key"
    if came Certificate; then differs="$differs, the handshake (with a certificate)"; fi
    if [ -n "$differs" ]; then
      why="openssl says Reused, but something differs from the first connection: ${differs#, }."
      return
    fi
  elif [ "$id" = "${ids[$1]}" ] || [ "$master" = "${masters[$1]}" ] || ! came Certificate; then
    why='openssl says New, but session ID, master key or handshake are those of a resumed session.'
    return
  fi
  if [ -z "${refusals[$2]}" ] && [ "$mqtt" != "${mqtts[$2]}" ]; then
    mqtt_text "$mqtt"
    why="TLS worked, but MQTT went otherwise than on the first connection to ${names[$2]}: $text."
    return
  fi
  if [ "$said" = Reused ]; then outcome=resumed; else outcome=full; fi
}

show_handshake() {
  if [ "$said" = Reused ]; then
    detail Handshake 'Reused (abbreviated)'
  else
    detail Handshake 'New (full)'
  fi
  detail Received "$messages"
  detail Protocol "$protocol"
  detail Cipher "$cipher"
}

show_mqtt() {
  mqtt_text "$mqtt"
  detail MQTT "$text"
}

# five_steps INDEX: sets `outcome` and, unless the session was resumed, `why`.
five_steps() {
  local file=$work/session.$1
  outcome=failed ids[$1]='' masters[$1]='' ciphers[$1]='' mqtts[$1]='' refusals[$1]=''

  echo '1. Connect with TLS 1.2'
  connect "$1" -sess_out "$file"
  refusals[$1]=$denied
  [ -z "$why" ] || return 0
  mqtts[$1]=$mqtt
  show_handshake
  show_mqtt

  echo '2. Receive a session ID'
  if [ -z "$id" ]; then
    why="${names[$1]} issued no session ID, so there is nothing to resume: its session cache is off."
    return
  fi
  detail_id "$id"
  if [ ! -s "$file" ] || [ -z "$master" ]; then
    why='openssl did not save the session, so it cannot be offered again.'
    return
  fi
  ids[$1]=$id masters[$1]=$master ciphers[$1]=$cipher

  echo '3. Disconnect'
  if [ "$mqtt" = 0 ]; then detail MQTT 'DISCONNECT sent'; fi
  if [ -n "$closed" ]; then detail TLS 'close_notify sent'; else detail TLS 'broken off'; fi

  echo '4. Reconnect, offering the session ID'
  connect "$1" -sess_in "$file"
  [ -z "$why" ] || return 0
  show_handshake
  if [ "$id" = "${ids[$1]}" ]; then detail 'Session ID' "$id"; else detail_id "$id"; fi
  show_mqtt

  echo '5. Verify'
  judge "$1" "$1"
  detail Resumed "openssl says $said"
  compared 'Session ID' "$id" "${ids[$1]}"
  compared Cipher "$cipher" "${ciphers[$1]}" ", $protocol both times"
  compared 'Master key' "$master" "${masters[$1]}" ' (compared, never shown)'
  if [ $outcome = full ]; then
    why="${names[$1]} issued a session ID and then did not resume it: its session cache is off
         (reuse_sessions = false), or the address leads to several nodes, each with a cache of its
         own (a load balancer)."
  fi
}

# The result of the five steps with one endpoint, and what there is to say about MQTT.
show_result() {
  if [ $outcome = resumed ]; then
    head_line Verdict "resumed: ${names[$1]} took the session up again, with the same session ID,
                       cipher and keys, and sent no certificate."
  elif [ $outcome = full ]; then
    head_line Verdict "not resumed: $why"
  else
    head_line Verdict "failed: $why"
  fi
  mqtt_text "${mqtts[$1]}"
  case ${mqtts[$1]} in
    ('' | 0) return ;;
    (4 | 5) text="$text; set MQTT_USERNAME and MQTT_PASSWORD" ;;
  esac
  head_line Note "MQTT: $text. What is said of TLS holds all the same."
}

show_head() {
  local endpoints=${names[0]}
  if [ ${#names[@]} -gt 1 ]; then endpoints="${names[*]}"; fi
  head_line Server "$endpoints"
  head_line Client "$openssl, TLS 1.2 only, session IDs only (no tickets)"
  if [ -n "$ca" ]; then
    head_line Trust "${ca#"$here/"}"
  else
    head_line Trust "the server's certificate is not verified (--ca FILE would)"
  fi
}

# -- Several endpoints ------------------------------------------------------------------------

# matrix: offers each endpoint's session to every other; the five steps have filled the diagonal of
# `cells`. Sets `unexpected` to the count of cells that are not as they should be.
matrix() {
  local count=${#names[@]} i j cell wanted
  unexpected=0
  for ((i = 0; i < count; i++)); do
    for ((j = 0; j < count; j++)); do
      cell=$((i * count + j))
      if [ $i -ne $j ]; then offer_elsewhere $i $j $cell; fi
      want $i $j
      if [ "${cells[cell]}" != "$wanted" ]; then unexpected=$((unexpected + 1)); fi
    done
  done
}

# want ISSUER REDEEMER: sets `wanted` to what should come of it when each node has a session cache of
# its own. Who refuses a client must refuse it with a session of somebody else, too.
want() {
  if [ "$1" -eq "$2" ]; then
    wanted=resumed
  elif [ -n "${refusals[$2]}" ]; then
    wanted=refused
  else
    wanted=full
  fi
}

# offer_elsewhere ISSUER REDEEMER CELL
offer_elsewhere() {
  # There is nothing to offer, or nobody to offer it to: five steps have said why, and another wait
  # would say nothing new.
  if [ -z "${ids[$1]}" ] || [ -z "${mqtts[$2]}${refusals[$2]}" ]; then
    cells[$3]=-
    return
  fi
  connect "$2" -sess_in "$work/session.$1"
  if [ -n "$denied" ] && [ -n "${refusals[$2]}" ]; then
    cells[$3]=refused
    return
  fi
  judge "$1" "$2"
  cells[$3]=$outcome
  if [ $outcome = failed ]; then
    reasons+=("Session of ${names[$1]} offered to ${names[$2]}: $why")
  elif [ -n "${refusals[$2]}" ]; then
    mqtt_text "$mqtt"
    reasons+=("${names[$2]} refuses this client, and let it in ($outcome) when it offered a session
               of ${names[$1]}: $text.")
  elif [ $outcome = resumed ]; then
    reasons+=("${names[$2]} resumed a session of ${names[$1]}: both addresses lead to one node, or
               the nodes share their sessions.")
  fi
}

show_matrix() {
  local count=${#names[@]} width=0 i j line shown wanted
  for ((i = 0; i < count; i++)); do
    line="[$((i + 1))] ${names[i]}"
    if [ ${#line} -gt "$width" ]; then width=${#line}; fi
  done
  echo 'Session of (row) offered to (column); ! marks what was not expected'
  printf -v line '%*s' "$width" ''
  for ((i = 0; i < count; i++)); do printf -v line '%s  %-8s' "$line" "[$((i + 1))]"; done
  trimmed "$line"
  for ((i = 0; i < count; i++)); do
    printf -v line '%-*s' "$width" "[$((i + 1))] ${names[i]}"
    for ((j = 0; j < count; j++)); do
      shown=${cells[$((i * count + j))]}
      want $i $j
      if [ "$shown" != - ] && [ "$shown" != "$wanted" ]; then shown=$shown!; fi
      printf -v line '%s  %-8s' "$line" "$shown"
    done
    trimmed "$line"
  done
}

trimmed() { printf '%s\n' "${1%"${1##*[! ]}"}"; }

# -- The test ---------------------------------------------------------------------------------

test_one() {
  echo
  five_steps 0
  echo
  show_result 0
  [ $outcome = resumed ]
}

test_several() {
  local count=${#names[@]} i cell reason
  cells=() reasons=()
  for ((i = 0; i < count; i++)); do
    printf '\n[%d] %s\n' $((i + 1)) "${names[i]}"
    five_steps $i
    show_result $i
    cell=$((i * count + i))
    cells[cell]=$outcome
    if [ $outcome != resumed ]; then reasons+=("$why"); fi
  done
  printf '\nOffering each session to every other endpoint ...\n\n'
  matrix
  show_matrix
  echo
  if [ $unexpected -eq 0 ]; then
    head_line Verdict "as expected: each of $count endpoints resumed its own session; with another's,
                       each made a full handshake, and MQTT went on as before."
    return
  fi
  for reason in "${reasons[@]}"; do head_line Why "$reason"; done
  head_line Verdict "not as expected: $unexpected of $((count * count)) pairs."
  return 1
}

main() {
  username=${MQTT_USERNAME-} password=${MQTT_PASSWORD-}
  unset MQTT_USERNAME MQTT_PASSWORD  # openssl need not know them
  parse_arguments "$@"
  check_openssl
  prepare
  show_head
  if [ ${#names[@]} -eq 1 ]; then test_one; else test_several; fi
}

main "$@"; exit
