%% @doc One listener: its socket, its connections, its acceptors; a lost socket takes the
%% acceptors with it. It can be opened again with other trust anchors while the node runs on.
-module(embedded_node_listener_sup).
-behaviour(supervisor).

-export([start_link/2, reopen/2, init/1]).

-spec start_link(embedded_node_config:listener(), map()) -> supervisor:startlink_ret().
start_link(Listener, Limits) ->
    supervisor:start_link(?MODULE, {with_anchors(Listener), Limits}).

%% @doc Close the listener, which ends its connections, and open it with the trust anchors of a file
%% or with its own. A file under a path that was read before may be another to OTP, which remembers
%% it.
-spec reopen(embedded_node_config:listener(), file:filename_all() | own) ->
    ok | {error, unicode:chardata()}.
reopen(#{type := Type, name := Name} = Listener, Anchors) ->
    ok = remember(key(Listener), Anchors),
    _ = supervisor:terminate_child(embedded_node_sup, {Type, Name}),
    case supervisor:restart_child(embedded_node_sup, {Type, Name}) of
        {ok, _Pid} -> ok;
        {error, Reason} -> {error, embedded_node:sentence(Reason)}
    end.

remember(Key, own) -> _ = persistent_term:erase(Key), ok;
remember(Key, Path) -> persistent_term:put(Key, Path).

with_anchors(#{ssl_options := Options} = Listener) ->
    case persistent_term:get(key(Listener), own) of
        own -> Listener;
        Path -> Listener#{ssl_options := Options#{cacertfile => Path}}
    end.

key(Listener) -> {?MODULE, embedded_node_listener:name(Listener)}.

init({Listener, Limits}) ->
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10},
          [#{id => socket, start => {embedded_node_listener, start_link, [Listener]}},
           #{id => connections, type => supervisor,
             start => {embedded_node_connection_sup, start_link, [Listener, Limits]}},
           #{id => acceptors, type => supervisor,
             start => {embedded_node_acceptor_sup, start_link, [Listener]}}]}}.
