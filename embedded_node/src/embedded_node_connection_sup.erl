%% @doc The connections of one listener.
-module(embedded_node_connection_sup).
-behaviour(supervisor).

-export([start_link/2, start_connection/2, count/1, peers/1, init/1]).

-spec start_link(embedded_node_config:listener(), map()) -> supervisor:startlink_ret().
start_link(Listener, Limits) ->
    supervisor:start_link({local, name(Listener)}, ?MODULE, {Listener, Limits}).

-spec start_connection(embedded_node_config:listener(), gen_tcp:socket()) ->
    supervisor:startchild_ret().
start_connection(Listener, Socket) ->
    supervisor:start_child(name(Listener), [Socket]).

%% @doc Connections now, those in their handshake included.
-spec count(embedded_node_config:listener()) -> non_neg_integer().
count(Listener) ->
    proplists:get_value(active, supervisor:count_children(name(Listener))).

%% @doc Addresses of the clients that are connected now, as far as the node knows them; behind a load
%% balancer those that its PROXY protocol headers told.
-spec peers(embedded_node_config:listener()) -> [binary()].
peers(Listener) ->
    [Peer || {_Id, Pid, _Type, _Modules} <- supervisor:which_children(name(Listener)),
             Peer <- embedded_node_connection:peer(Pid)].

init({#{ssl_options := Options} = Listener, Limits}) ->
    {ok, TlsOptions} = embedded_node_tls:options(Options),
    Settings = Limits#{tls_options => TlsOptions,
                       listener => iolist_to_binary(embedded_node_listener:label(Listener)),
                       proxy => proxy(Listener),
                       handshake_timeout => maps:get(handshake_timeout, Options)},
    {ok, {#{strategy => simple_one_for_one},
          [#{id => connection, restart => temporary, shutdown => brutal_kill,
             start => {embedded_node_connection, start_link, [Settings]}}]}}.

proxy(#{proxy_protocol := true, proxy_protocol_timeout := TimeoutMs}) -> TimeoutMs;
proxy(#{proxy_protocol := false}) -> none.

name(Listener) ->
    binary_to_atom(iolist_to_binary([embedded_node_listener:label(Listener), ".connections"])).
