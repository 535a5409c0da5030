%% @doc The acceptors of one listener, as many as its `acceptors' says.
-module(embedded_node_acceptor_sup).
-behaviour(supervisor).

-export([start_link/1, init/1]).

-spec start_link(embedded_node_config:listener()) -> supervisor:startlink_ret().
start_link(Listener) ->
    supervisor:start_link(?MODULE, Listener).

init(#{acceptors := Count} = Listener) ->
    Socket = embedded_node_listener:socket(Listener),
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10},
          [#{id => Number, shutdown => brutal_kill,
             start => {embedded_node_acceptor, start_link, [Listener, Socket]}}
           || Number <- lists:seq(1, Count)]}}.
