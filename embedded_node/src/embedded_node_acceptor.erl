%% @doc Accepts TCP connections and hands each to a process of its own, which upgrades it
%% to TLS: a slow handshake never holds up the next client.
-module(embedded_node_acceptor).

-export([start_link/2, accept/2]).

-spec start_link(embedded_node_config:listener(), gen_tcp:socket()) -> {ok, pid()}.
start_link(Listener, Socket) ->
    {ok, proc_lib:spawn_link(?MODULE, accept, [Listener, Socket])}.

-spec accept(embedded_node_config:listener(), gen_tcp:socket()) -> no_return().
accept(Listener, ListenSocket) ->
    case gen_tcp:accept(ListenSocket) of
        {ok, Socket} -> admit(Listener, Socket);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= system_limit ->
            logger:warning("~ts: no file descriptor left", [embedded_node_listener:label(Listener)]),
            timer:sleep(100);
        {error, closed} -> exit({shutdown, listener_closed});
        {error, _GoneAlready} -> ok
    end,
    ?MODULE:accept(Listener, ListenSocket).

admit(#{max_connections := Max} = Listener, Socket) ->
    embedded_node_stats:count(accepted),
    %% infinity, an atom, is greater than any number.
    case embedded_node_connection_sup:count(Listener) < Max of
        true -> hand_over(Listener, Socket);
        false ->
            logger:warning("~ts: max_connections (~b) reached",
                           [embedded_node_listener:label(Listener), Max]),
            gen_tcp:close(Socket)
    end.

hand_over(Listener, Socket) ->
    {ok, Connection} = embedded_node_connection_sup:start_connection(Listener, Socket),
    case gen_tcp:controlling_process(Socket, Connection) of
        ok -> embedded_node_connection:socket_is_yours(Connection);
        {error, _GoneAlready} ->
            gen_tcp:close(Socket),
            embedded_node_connection:socket_is_gone(Connection)
    end.
