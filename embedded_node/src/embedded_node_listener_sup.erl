%% @doc One listener: its socket, its connections, its acceptors; a lost socket takes the
%% acceptors with it.
-module(embedded_node_listener_sup).
-behaviour(supervisor).

-export([start_link/2, init/1]).

-spec start_link(embedded_node_config:listener(), map()) -> supervisor:startlink_ret().
start_link(Listener, Limits) ->
    supervisor:start_link(?MODULE, {Listener, Limits}).

init({Listener, Limits}) ->
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10},
          [#{id => socket, start => {embedded_node_listener, start_link, [Listener]}},
           #{id => connections, type => supervisor,
             start => {embedded_node_connection_sup, start_link, [Listener, Limits]}},
           #{id => acceptors, type => supervisor,
             start => {embedded_node_acceptor_sup, start_link, [Listener]}}]}}.
