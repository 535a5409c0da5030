%% @doc Owner of one listening TCP socket. TLS comes later, on the accepted socket, as in
%% EMQX: sockets upgraded so share one session cache a node, whatever their listener.
-module(embedded_node_listener).
-behaviour(gen_server).

-export([start_link/1, name/1, label/1, socket/1, is_running/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type listener() :: embedded_node_config:listener().

-spec start_link(listener()) -> gen_server:start_ret().
start_link(Listener) ->
    gen_server:start_link({local, name(Listener)}, ?MODULE, Listener, []).

%% @doc Registered name of the owner; listeners come from the configuration alone, so no
%% client can make atoms.
-spec name(listener()) -> atom().
name(Listener) ->
    binary_to_atom(iolist_to_binary(label(Listener))).

%% @doc The listener's path in listeners.hocon.
-spec label(listener()) -> iodata().
label(#{type := Type, name := Name}) ->
    ["listeners.", atom_to_list(Type), ".", Name].

-spec socket(listener()) -> gen_tcp:socket().
socket(Listener) ->
    gen_server:call(name(Listener), socket).

%% @doc Whether its socket is open right now.
-spec is_running(listener()) -> boolean().
is_running(Listener) ->
    whereis(name(Listener)) =/= undefined.

init(#{bind := {Address, Port} = Bind} = Listener) ->
    maybe_refuse_options(Listener),
    process_flag(trap_exit, true),
    {ok, Ip} = inet:parse_strict_address(binary_to_list(Address)),
    Family = case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end,
    Options = [binary, Family, {ip, Ip}, {active, false}, {reuseaddr, true}, {backlog, 1024},
               {nodelay, true}, {send_timeout, 15_000}, {send_timeout_close, true}],
    case gen_tcp:listen(Port, Options) of
        {ok, Socket} -> {ok, Socket};
        {error, Reason} ->
            {stop, {refused, [label(Listener), ": ", embedded_node_config:bind_text(Bind), " ",
                              why(Reason)]}}
    end.

handle_call(socket, _From, Socket) ->
    {reply, Socket, Socket}.

handle_cast(_Message, Socket) ->
    {noreply, Socket}.

handle_info({'EXIT', _Socket, Reason}, Socket) ->
    {stop, Reason, Socket};
handle_info(_Unexpected, Socket) ->
    {noreply, Socket}.

%% Closed here and not by our end, which a supervisor that opens it again does not wait for.
terminate(_Reason, Socket) ->
    gen_tcp:close(Socket).

maybe_refuse_options(#{ssl_options := Options} = Listener) ->
    case embedded_node_tls:options(Options) of
        {ok, _Usable} -> ok;
        {error, Sentence} ->
            exit({refused, [label(Listener), ".ssl_options.", Sentence]})
    end.

why(eaddrinuse) -> "is already in use";
why(eaddrnotavail) -> "is not an address of this machine";
why(eacces) -> "needs more rights (ports below 1024)";
why(Reason) -> ["cannot be opened: ", inet:format_error(Reason)].
