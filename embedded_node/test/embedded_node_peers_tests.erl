-module(embedded_node_peers_tests).
-include("check.hrl").

%% A host that nobody knows must be asked again, and again.
tries_again_test() ->
    {ok, Pid} = embedded_node_peers:start_link(['nobody@nowhere.invalid', node()]),
    1 = erlang:trace(Pid, true, [procs]),
    ?assertEqual({embedded_node_peers, ask, ["nowhere.invalid"]}, begun()),
    ?assertEqual({embedded_node_peers, ask, ["nowhere.invalid"]}, begun()),
    unlink(Pid),
    gen_server:stop(Pid).

%% However many peers are away, their host is asked once, and nobody whom it does not know is
%% called.
only_who_is_there_is_called_test() ->
    Peers = ['there@here.invalid' |
             [list_to_atom("away" ++ integer_to_list(Number) ++ "@here.invalid")
              || Number <- lists:seq(1, 99)]],
    {noreply, #{attempts := Asked} = State} =
        embedded_node_peers:handle_info(connect, #{peers => Peers, attempts => #{}}),
    [Question] = maps:keys(Asked),
    ?assertEqual(#{Question => "here.invalid"}, Asked),
    {noreply, #{attempts := Called}} = embedded_node_peers:handle_info(
        {'DOWN', Question, process, self(), {knows, ["there", "stranger"]}}, State),
    ?assertEqual(['there@here.invalid'], maps:values(Called)).

%% One attempt at a time at one peer, however long it takes.
one_attempt_a_peer_test() ->
    Waiting = make_ref(),
    Question = make_ref(),
    State = #{peers => ['slow@nowhere.invalid'],
              attempts => #{Waiting => 'slow@nowhere.invalid', Question => "nowhere.invalid"}},
    {noreply, #{attempts := Asking}} = embedded_node_peers:handle_info(connect, State),
    ?assertEqual(["nowhere.invalid", 'slow@nowhere.invalid'], values(Asking)),
    {noreply, #{attempts := Same}} = embedded_node_peers:handle_info(
        {'DOWN', Question, process, self(), {knows, ["slow"]}}, State),
    ?assertEqual(#{Waiting => 'slow@nowhere.invalid'}, Same),
    {noreply, #{attempts := Left}} =
        embedded_node_peers:handle_info({'DOWN', Waiting, process, self(), normal}, State),
    ?assertEqual(#{Question => "nowhere.invalid"}, Left).

values(Map) ->
    lists:sort(fun(One, Other) -> is_list(One) orelse not is_list(Other) end, maps:values(Map)).

begun() ->
    receive {trace, _, spawn, _, Call} -> Call
    after 10_000 -> nothing
    end.
