-module(embedded_node_peers_tests).
-include("check.hrl").

%% Without distribution every attempt fails at once: it must be made again, and again.
tries_again_test() ->
    {ok, Pid} = embedded_node_peers:start_link(['nobody@nowhere.invalid', node()]),
    1 = erlang:trace(Pid, true, [procs]),
    ?assertEqual('nobody@nowhere.invalid', attempted()),
    ?assertEqual('nobody@nowhere.invalid', attempted()),
    unlink(Pid),
    gen_server:stop(Pid).

%% One attempt at a time at one peer, however long it takes.
one_attempt_a_peer_test() ->
    Waiting = make_ref(),
    State = #{peers => ['slow@nowhere.invalid'], attempts => #{Waiting => 'slow@nowhere.invalid'}},
    {noreply, #{attempts := Same}} = embedded_node_peers:handle_info(connect, State),
    ?assertEqual(#{Waiting => 'slow@nowhere.invalid'}, Same),
    {noreply, #{attempts := None}} =
        embedded_node_peers:handle_info({'DOWN', Waiting, process, self(), normal}, State),
    ?assertEqual(#{}, None).

attempted() ->
    receive {trace, _, spawn, _, {net_kernel, connect_node, [Peer]}} -> Peer
    after 10_000 -> nothing
    end.
