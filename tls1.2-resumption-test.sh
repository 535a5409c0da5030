#!/usr/bin/env bash
# Tests TLS 1.2 session resumption by session ID with nothing but a shell and openssl; see --help.
#
# It runs on bash 3.2, which macOS has, with POSIX tools (no `timeout`: deadlines are kept by
# polling), and reads nothing that OpenSSL 1.1.1 to 3.x print differently. Signals come at any
# moment: a trap only notes its signal, since one that exits can be interrupted by the next and
# leave things behind. bash 5.2 runs traps even while it looks for the end of a $(...), and loses
# track of both: from `prepare` on there is none, and functions answer in variables.
set -euo pipefail
set -f  # words from openssl must not be globbed
export LC_ALL=C  # lengths in bytes, messages in English
umask 077  # the session file holds the master secret

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

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

# say LABEL WIDTH TEXT: TEXT wrapped to 79 columns, beside LABEL in the first WIDTH of them.
say() {
  local line word
  printf -v line '%-*s' "$2" "$1"
  for word in $3; do
    if [ ${#line} -gt "$2" ] && [ $((${#line} + ${#word})) -gt 79 ]; then
      printf '%s\n' "${line% }"
      printf -v line '%*s' "$2" ''
    fi
    line="$line$word "
  done
  printf '%s\n' "${line% }"
}

detail() { say "  $1" 14 "$2"; }  # of a step
result() { say "$1" 10 "$2"; }

# A session ID, and the same as Erlang's logs print it: on one line, to be searched for.
detail_id() {
  local at binary=''
  detail 'Session ID' "${1:-none}"
  [[ $1 =~ ^[0-9A-Fa-f]+$ ]] || return 0
  for ((at = 0; at < ${#1}; at += 2)); do binary=$binary,$((16#${1:at:2})); done
  detail 'In Erlang' "<<${binary#,}>>"
}

wrong_usage() { say '' 0 "$1 See ./tls1.2-resumption-test.sh --help" >&2; exit 2; }
impossible() { end_if_signalled; say '' 0 "$1" >&2; exit 1; }

# -- What the user wants ----------------------------------------------------------------------

names=() ca='' insecure='' servername='' cert='' key='' timeout=10
host_name='[A-Za-z0-9_][A-Za-z0-9._-]*'
ipv6_address='[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?'

# add_endpoint HOST[:PORT]: adds it to `names`.
add_endpoint() {
  local host=${1%:*} port=${1##*:} known
  if [[ $1 =~ ^($host_name|\[.*\])$ ]]; then host=$1 port=8883; fi
  [[ $host =~ ^($host_name|\[$ipv6_address\])$ ]] ||
    wrong_usage "$1: an endpoint is written HOST:PORT, like localhost:8883 or [::1]:8883."
  [[ $port =~ ^0*[1-9][0-9]{0,4}$ ]] && [ $((10#$port)) -le 65535 ] ||
    wrong_usage "$1: the port must be a number from 1 to 65535."
  host=$host:$((10#$port))
  for known in ${names[@]+"${names[@]}"}; do
    [ "$known" != "$host" ] || wrong_usage "$known is named twice."
  done
  names+=("$host")
}

parse_arguments() {
  local option value
  while [ $# -gt 0 ]; do
    option=${1%%=*} value=${1#*=}
    case $1 in
      (--help | -h) usage; exit 0 ;;
      (--insecure) insecure=yes option='' ;;
      (--*=*) ;;
      (-*) value=${2-}; [ $# -lt 2 ] || shift ;;
      (*) add_endpoint "$1"; option='' ;;
    esac
    case $option in
      ('') ;;
      (--ca | --cert | --key | --servername | --timeout)
        [ -n "$value" ] || wrong_usage "$option needs a value."
        printf -v "${option#--}" %s "$value" ;;
      (*) wrong_usage "$option: there is no such option." ;;
    esac
    shift
  done
}

check_arguments() {
  local option
  [ ${#names[@]} -gt 0 ] || wrong_usage 'Name the server to test, like localhost:8883.'
  [[ $timeout =~ ^[1-9][0-9]{0,3}$ ]] ||
    wrong_usage "--timeout $timeout: must be whole seconds, from 1 to 9999."
  [[ $servername =~ ^($host_name)?$ ]] ||
    wrong_usage "--servername $servername: must be a host name."
  [ -z "$ca" ] || [ -z "$insecure" ] || wrong_usage 'Either --ca or --insecure, not both.'
  [ -n "$ca$insecure" ] || [ ! -r "$here/certs/ca.pem" ] || ca=$here/certs/ca.pem
  [ "${cert:+given}" = "${key:+given}" ] || wrong_usage '--cert and --key go together.'
  for option in ca cert key; do
    [ -z "${!option}" ] || { [ -f "${!option}" ] && [ -r "${!option}" ]; } ||
      wrong_usage "--$option ${!option}: there is no such file to read."
  done
  # openssl would ask for the passphrase on the terminal, once a connection.
  [ -z "$key" ] || ! grep -q ENCRYPTED "$key" ||
    wrong_usage "--key $key: is protected by a passphrase; give a key without one."
  [ -z "$password" ] || [ -n "$username" ] ||
    wrong_usage 'MQTT_PASSWORD needs MQTT_USERNAME (MQTT 3.1.1 has no password without a name).'
  # So much fits into a pipe that nobody reads yet.
  [ $((${#username} + ${#password})) -le 8000 ] ||
    wrong_usage 'MQTT_USERNAME and MQTT_PASSWORD together must not exceed 8000 bytes.'
}

check_openssl() {
  local supported='^OpenSSL (1\.1\.1|[3-9]\.|[1-9][0-9]\.)'
  command -v openssl >/dev/null ||
    impossible 'openssl was not found; install OpenSSL 1.1.1 or newer.'
  openssl=$(openssl version 2>/dev/null) || impossible '"openssl version" fails.'
  [[ $openssl =~ $supported ]] || impossible "The openssl in PATH is $openssl, which is too old or
    not OpenSSL; install OpenSSL 1.1.1 or newer (on macOS: brew install openssl, then put
    \"brew --prefix openssl\"/bin first in PATH)."
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

# Sets the traps, then makes `work`, the folder of the session files.
prepare() {
  trap clean_up EXIT
  trap 'signalled=129' HUP; trap 'signalled=130' INT
  trap 'signalled=131' QUIT; trap 'signalled=143' TERM
  # Ctrl-C must not end mktemp between making the folder and saying so. Backquotes: see the top.
  # shellcheck disable=SC2006
  work=`trap '' HUP INT QUIT TERM
    exec mktemp -d "${TMPDIR:-/tmp}/tls-resumption.XXXXXX" 2>/dev/null` ||
    impossible "No temporary folder could be made in ${TMPDIR:-/tmp}; set TMPDIR to a folder of
      yours."
  { mkfifo "$work/in"; } 2>/dev/null || impossible "No FIFO could be made in $work."
  end_if_signalled
}

# -- MQTT -------------------------------------------------------------------------------------

# bytes NUMBER...: prints these bytes.
bytes() {
  local number octal
  for number in "$@"; do
    printf -v octal '\\0%03o' "$number"
    printf %b "$octal"
  done
}

# strings TEXT...: prints each with its length in front (MQTT 3.1.1, 1.5.3).
strings() {
  local text
  for text in "$@"; do
    bytes $((${#text} >> 8)) $((${#text} & 255))
    printf %s "$text"
  done
}

# CONNECT (MQTT 3.1.1, 3.1): clean session, keep alive of a minute, a client id that is new each
# time and of a form every server has to accept (23 letters and digits at most).
mqtt_connect() {
  local client_id=resume$$$RANDOM$RANDOM flags=2 length
  length=$((12 + ${#client_id}))
  if [ -n "$username" ]; then flags=$((flags | 128)) length=$((length + 2 + ${#username})); fi
  if [ -n "$password" ]; then flags=$((flags | 64)) length=$((length + 2 + ${#password})); fi
  bytes 16
  for ((; length > 127; length >>= 7)); do bytes $((length & 127 | 128)); done
  bytes "$length"
  strings MQTT
  bytes 4 "$flags" 0 60
  strings "$client_id" ${username:+"$username"} ${password:+"$password"}
}

# mqtt_text ANSWER: sets `text` to what came of CONNECT, given as `mqtt` is.
mqtt_text() {
  local words=('' ': it does not speak MQTT 3.1.1' ': client identifier rejected'
    ': server unavailable' ': bad user name or password' ': not authorized')
  case $1 in
    (0) text='CONNECT accepted (CONNACK, return code 0)' ;;
    (none) text="CONNECT was not answered within $timeout s" ;;
    (closed) text='the connection was closed instead of answering CONNECT' ;;
    (nonsense) text='CONNECT was answered with something that is not MQTT 3.1.1' ;;
    (*) text="CONNECT refused (return code $1${words[$1]-})" ;;
  esac
}

# -- One connection ---------------------------------------------------------------------------

# Reads what s_client says of the session, if it has said all of it: it does when the handshake is
# over, one way or the other. What the server sends follows at `offset`.
read_session() {
  local line at=0 in_session=''
  offset=0 said='' protocol='' cipher='' id='' master=''
  while IFS= read -r line; do
    [ $offset -eq 0 ] || [ "$line" = 'read R BLOCK' ] || break
    at=$((at + ${#line} + 1))
    case $line in
      (New,* | Reused,*) said=${line%%,*} ;;
      (SSL-Session:) in_session=yes ;;
      (*' Protocol  : '*) protocol=${line#*: } ;;
      (*' Cipher    : '*) cipher=${line#*: } ;;
      (*' Session-ID: '*) id=${line#*: } ;;
      (*' Master-Key: '*) master=${line#*: } ;;
      (--- | 'read R BLOCK') [ -z "$in_session" ] || offset=$at ;;
    esac
  done <"$work/out"
  [ $offset -gt 0 ]
}

# Reads the answer to CONNECT into `mqtt`, if it is there.
read_answer() {
  local answer
  read_session || return 1
  { od -An -v -tx1 -j "$offset" -N 7 "$work/out" >"$work/answer"; } 2>/dev/null || return 1
  read -ra answer <"$work/answer" || return 1
  case ${answer[*]} in
    ('20 02 '??' '??*) mqtt=$((16#${answer[3]})) ;;
    (20 | '20 02' | '20 02 '??) return 1 ;;
    ('63 6c 6f 73 65 64 0a') mqtt=closed ;;  # s_client's own word
    (*) mqtt=nonsense ;;
  esac
}

# Reads the handshake messages and alerts that -state reports, and what openssl complains about.
read_events() {
  local line
  connected='' complaint='' messages='' alert='' verify_error='' closed=''
  while IFS= read -r line; do
    # The first is reported when there is a connection, and "CONNECTED" only once it is over.
    case $line in (SSL_connect:*) connected=yes ;; esac
    case $line in
      ('SSL_connect:SSLv3/TLS read '*)
        line=${line#*TLS read }
        came "$line" || messages=${messages:+$messages, }$line ;;
      ('SSL3 alert read:fatal:'*) alert=${line##*:} ;;
      ('SSL3 alert write:warning:close notify') closed=yes ;;
      # Without --ca it is reported all the same, and of no consequence.
      ('verify error:num='*) [ -z "$ca" ] || verify_error=${line#*=} ;;
      (SSL* | 'verify depth'*) ;;
      (*) complaint=$complaint$line$'\n' ;;
    esac
  done <"$work/err"
}

# came MESSAGE: whether the server sent this handshake message.
came() { case ", $messages, " in (*", $1, "*) ;; (*) return 1 ;; esac; }

running() { kill -0 "$client" 2>/dev/null; }

# Whether the connection's time is up. Seconds are whole, so it gets up to one more, never less.
expired() { [ -n "$signalled" ] || [ $((SECONDS - began)) -gt "$timeout" ]; }

# Bash would write on standard error that a signal ended it.
nap() { { sleep 0.05 || [ -n "$signalled" ] || sleep 1; } 2>/dev/null; }

# CONNECT, CONNACK, DISCONNECT with the s_client that was just started, then its end. Sets `late` if
# the time was up before. s_client reads standard input only when the handshake is over: a
# certificate that it refuses has been refused by then, and nobody else gets the password.
converse() {
  local began=$SECONDS
  late='' mqtt=''
  mqtt_connect >&3
  while ! read_answer && running && ! expired; do nap; done
  # It may have ended after the look at its output.
  [ -n "$mqtt" ] || read_answer || if running; then mqtt=none; else mqtt=closed; fi
  if running && expired; then late=yes; fi
  if [ "$mqtt" = 0 ]; then printf '\340\000' >&3; fi
  # At the end of its input s_client says close_notify. Killing it would not: an OpenSSL server then
  # drops the session, as RFC 2246 demanded.
  exec 3>&-
  began=$SECONDS
  while [ $offset -gt 0 ] && running && ! expired; do nap; done
  { kill -KILL "$client"; wait "$client"; } 2>/dev/null || true
}

# connect INDEX OPTION FILE: one connection to an endpoint. OPTION is -sess_out, the session goes
# into FILE, or -sess_in, it is offered from there. Sets `why` unless TLS worked, and `denied` if
# the server answered TLS and then let nobody in.
connect() {
  local name=${servername:-${names[$1]%:*}} check=-verify_hostname
  local arguments=(-connect "${names[$1]}" -tls1_2 -no_ticket -nocommands -state "$2" "$3")
  # SNI holds host names only (RFC 6066, 3). Left to s_client, it would hold some addresses.
  if [[ $name =~ ^(\[.*|[0-9.]+)$ ]]; then
    name=${name#\[} check=-verify_ip
    arguments+=(-noservername)
  else
    arguments+=(-servername "$name")
  fi
  name=${name%\]}
  [ -z "$ca" ] ||
    arguments+=(-CAfile "$ca" -verify 9 -verify_return_error "$check" "${name%%\%*}")
  [ -z "$cert" ] || arguments+=(-cert "$cert" -key "$key")
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
  why='' denied=''
  if [ $offset -eq 0 ] || ! came finished || [ -n "$alert" ]; then
    explain "${names[$1]}"
  elif [ "$protocol" != TLSv1.2 ]; then
    why="${names[$1]} spoke $protocol and not TLSv1.2."
  fi
  if [ -n "$why" ] && [ -z "$late$verify_error" ]; then
    if [ -n "$alert" ] || came 'server hello'; then denied=yes; fi
  fi
}

# explain NAME: sets `why` to the reason why there was no TLS: by how far it came, then by what
# openssl and the alert say more exactly.
explain() {
  local first=${complaint%%$'\n'*}
  case $connected/$late/${verify_error%%:*}/$alert in
    (/yes/*) why="$1 did not accept a connection within $timeout s; is a firewall in between?" ;;
    (/*) why="openssl s_client could not connect to $1: ${complaint:-it did not say why}" ;;
    (*/62/* | */64/*) why="The certificate of $1 is for another name or address
      (${verify_error#*:}); give a name that is in it with --servername." ;;
    (*/9/* | */10/*) why="The certificate of $1 is not valid now: ${verify_error#*:}." ;;
    (*/[0-9]*/*) why="The certificate of $1 is not trusted (${verify_error#*:}): it was not signed
      by the CA in $ca; name the right CA with --ca, or do not verify it with --insecure." ;;
    (*/'protocol version') why="$1 does not speak TLS 1.2 (alert: $alert), perhaps TLS 1.3 only;
      session IDs need versions = [\"tlsv1.2\"] in the listener's ssl_options." ;;
    (*//[!/]*) why="$1 ended TLS with a fatal alert: $alert." ;;
    (*/yes//) why="$1 accepts connections but did not finish the TLS handshake within
      $timeout s." ;;
    (*) why="$1 closed the connection when TLS began; that port speaks no TLS (plain MQTT?), or the
      server takes no more connections."
      if came 'server hello'; then why="$1 broke off the TLS handshake without saying why."; fi ;;
  esac
  case $complaint in
    (*:BIO_lookup* | *:getaddrinfo*)
      [ -n "$connected" ] || why="The host name of $1 does not resolve (${first##*:})." ;;
    (*'onnection refused'*) [ -n "$connected" ] || why="Nothing listens on $1 (connection refused);
      is the server started, and is this its port?" ;;
    (*'key values mismatch'*) why="--key $key is not the key of --cert $cert." ;;
    (*'wrong version number'* | *'packet length too long'* | *'record layer failure'*)
      [ -n "$verify_error$alert" ] ||
        why="$1 answers, but not with TLS; that port speaks something else." ;;
  esac
  if [ -n "$alert" ] && came 'server certificate request'; then
    why="$1 demands a client certificate (alert: $alert); give one with --cert and --key, like
      certs/client-cert.pem and certs/client-key.pem."
    [ -z "$cert" ] || why="$1 refuses the client certificate $cert (alert: $alert)."
  elif [ "$alert" = 'handshake failure' ]; then
    why="$1 has no cipher suite in common with this openssl, or will not use TLS 1.2
      (alert: $alert)."
  fi
}

# -- Verdicts ---------------------------------------------------------------------------------

# Of the first connection to each endpoint; no `ids` where it issued no session, and `refusals`
# where it let nobody in.
ids=() masters=() ciphers=() mqtts=() refusals=()

# judge ISSUER REDEEMER: sets `outcome` to what the last connection was, which offered the issuer's
# session to the redeemer: resumed, full or failed (then `why` says why). One witness is not enough:
# a server without a cache issues session IDs as well.
judge() {
  local differs=''
  outcome=failed
  [ -z "$why" ] || return 0
  if [ "$said" = Reused ]; then
    [ "$id" = "${ids[$1]}" ] || differs+=', the session ID'
    [ "$cipher" = "${ciphers[$1]}" ] || differs+=', the cipher'
    [ "$master" = "${masters[$1]}" ] || differs+=', the master key'
    ! came 'server certificate' || differs+=', the handshake (with a certificate)'
    [ -z "$differs" ] ||
      why="openssl says Reused, but something differs from the first connection: ${differs#, }."
  elif [ "$id" = "${ids[$1]}" ] || [ "$master" = "${masters[$1]}" ] ||
      ! came 'server certificate'; then
    why='openssl says New, but session ID, master key or handshake are those of a resumed session.'
  fi
  if [ -z "$why${refusals[$2]}" ] && [ "$mqtt" != "${mqtts[$2]}" ]; then
    mqtt_text "$mqtt"
    why="TLS worked, but MQTT went otherwise than on the first connection to ${names[$2]}: $text."
  fi
  if [ -n "$why" ]; then return; fi
  if [ "$said" = Reused ]; then outcome=resumed; else outcome=full; fi
}

# compared NAME VALUE FIRST-VALUE [MORE]: a detail of the verification.
compared() {
  if [ "$2" = "$3" ]; then detail "$1" "the same${4-}"; else detail "$1" "another one${4-}"; fi
}

# What the last connection was like.
show_connection() {
  local kind=full
  [ "$said" = New ] || kind=abbreviated
  detail Handshake "$said ($kind)"
  detail Received "$messages"
  detail Protocol "$protocol"
  detail Cipher "$cipher"
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
  show_connection

  echo '2. Receive a session ID'
  if [ -z "$id" ]; then
    why="${names[$1]} issued no session ID, so there is nothing to resume: its session cache is
      off."
    return
  fi
  detail_id "$id"
  if [ -z "$master" ] || [ ! -s "$file" ]; then
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
  show_connection
  if [ "$id" = "${ids[$1]}" ]; then detail 'Session ID' "$id"; else detail_id "$id"; fi

  echo '5. Verify'
  judge "$1" "$1"
  detail Resumed "openssl says $said"
  compared 'Session ID' "$id" "${ids[$1]}"
  compared Cipher "$cipher" "${ciphers[$1]}" ", $protocol both times"
  compared 'Master key' "$master" "${masters[$1]}" ' (compared, never shown)'
  [ $outcome != full ] || why="${names[$1]} issued a session ID and then did not resume it: its
    session cache is off (reuse_sessions = false), or the address leads to several nodes, each with
    a cache of its own (a load balancer)."
}

# show_result INDEX: the result of the five steps, and what there is to say about MQTT.
show_result() {
  local text
  case $outcome in
    (resumed) result Verdict "resumed: ${names[$1]} took the session up again, with the same session
      ID, cipher and keys, and sent no certificate." ;;
    (full) result Verdict "not resumed: $why" ;;
    (failed) result Verdict "failed: $why" ;;
  esac
  case ${mqtts[$1]} in ('' | 0) return ;; esac
  mqtt_text "${mqtts[$1]}"
  case ${mqtts[$1]} in (4 | 5) text="$text; set MQTT_USERNAME and MQTT_PASSWORD" ;; esac
  result Note "MQTT: $text. What is said of TLS holds all the same."
}

# -- Several endpoints ------------------------------------------------------------------------

# offer_elsewhere ISSUER REDEEMER: sets `outcome`, and adds to `reasons` what was not expected.
offer_elsewhere() {
  local text
  # There is nothing to offer, or nobody to offer it to: the five steps have said why, and another
  # wait would say nothing new.
  outcome=-
  if [ -z "${ids[$1]}" ] || [ -z "${mqtts[$2]}${refusals[$2]}" ]; then return; fi
  connect "$2" -sess_in "$work/session.$1"
  outcome=refused
  if [ -n "$denied" ] && [ -n "${refusals[$2]}" ]; then return; fi
  judge "$1" "$2"
  mqtt_text "$mqtt"
  if [ $outcome = failed ]; then
    reasons+=("Session of ${names[$1]} offered to ${names[$2]}: $why")
  elif [ -n "${refusals[$2]}" ]; then
    reasons+=("${names[$2]} refuses this client, and let it in ($outcome) when it offered a session
      of ${names[$1]}: $text.")
  elif [ $outcome = resumed ]; then
    reasons+=("${names[$2]} resumed a session of ${names[$1]}: both addresses lead to one node, or
      the nodes share their sessions.")
  fi
}

# show_matrix OUTCOME...: offers each endpoint's session to every other and prints what came of it;
# its own is in OUTCOME. Sets `unexpected` to the count of cells that are not as they should be.
show_matrix() {
  local own=("$@") count=$# width=0 i j line wanted name
  for name in "${names[@]}"; do [ ${#name} -le "$width" ] || width=${#name}; done
  width=$((width + 6 + ${#count} - 1)) unexpected=0 line=''
  printf '\nOffering each session to every other endpoint ...\n\n'
  echo 'Session of (row) offered to (column); ! marks what was not expected'
  for ((j = 0; j < count; j++)); do
    printf -v line '%-*s[%d]' $((width + 10 * j)) "$line" $((j + 1))
  done
  printf '%s\n' "$line"
  for ((i = 0; i < count; i++)); do
    line="[$((i + 1))] ${names[i]}"
    for ((j = 0; j < count; j++)); do
      # Each node has a session cache of its own. Who refuses a client must refuse it with a session
      # of somebody else, too.
      if [ $i -eq $j ]; then
        outcome=${own[i]} wanted=resumed
      else
        offer_elsewhere $i $j
        if [ -n "${refusals[j]}" ]; then wanted=refused; else wanted=full; fi
      fi
      if [ "$outcome" != $wanted ]; then
        unexpected=$((unexpected + 1))
        [ "$outcome" = - ] || outcome+=!
      fi
      printf -v line '%-*s%s' $((width + 10 * j)) "$line" "$outcome"
    done
    printf '%s\n' "$line"
  done
}

# -- The test ---------------------------------------------------------------------------------

main() {
  local i reason trust outcomes=()
  username=${MQTT_USERNAME-} password=${MQTT_PASSWORD-} reasons=()
  unset MQTT_USERNAME MQTT_PASSWORD  # openssl need not know them
  parse_arguments "$@"
  check_arguments
  check_openssl
  prepare
  result Server "${names[*]}"
  result Client "$openssl, TLS 1.2 only, session IDs only (no tickets)"
  trust="the server's certificate is not verified (--ca FILE would)"
  if [ -n "$ca" ]; then trust=${ca#"$here/"}; fi
  result Trust "$trust"
  for ((i = 0; i < ${#names[@]}; i++)); do
    echo
    [ ${#names[@]} -eq 1 ] || echo "[$((i + 1))] ${names[i]}"
    five_steps $i
    echo
    show_result $i
    outcomes+=("$outcome")
    [ $outcome = resumed ] || reasons+=("$why")
  done
  if [ ${#names[@]} -eq 1 ]; then [ "$outcome" = resumed ]; return; fi
  show_matrix "${outcomes[@]}"
  echo
  if [ $unexpected -eq 0 ]; then
    result Verdict "as expected: each of ${#names[@]} endpoints resumed its own session; with
      another's, each made a full handshake, and MQTT went on as before."
    return
  fi
  for reason in "${reasons[@]}"; do result Why "$reason"; done
  result Verdict "not as expected: $unexpected of $((${#names[@]} * ${#names[@]})) pairs."
  return 1
}

main "$@"; exit
