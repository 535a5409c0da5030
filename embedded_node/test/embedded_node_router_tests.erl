-module(embedded_node_router_tests).
-include("check.hrl").

-export([start/0, stop/1, received/0]).
-export([exact_and_wildcard/0, once_at_the_highest_qos/0, replaced_subscription/0,
         unsubscribed/0, gone_with_its_process/0]).

router_test_() ->
    {foreach, fun start/0, fun stop/1,
     [fun(_) -> {atom_to_list(Name), fun() -> ?MODULE:Name() end} end
      || Name <- [exact_and_wildcard, once_at_the_highest_qos, replaced_subscription,
                  unsubscribed, gone_with_its_process]]}.

start() ->
    {ok, Pg} = pg:start_link(embedded_node),
    {ok, Router} = embedded_node_router:start_link(),
    flush(),
    [Router, Pg].

stop(Processes) ->
    [begin
         unlink(Process),
         Ref = monitor(process, Process),
         exit(Process, kill),
         receive {'DOWN', Ref, _, _, _} -> ok end
     end || Process <- Processes].

exact_and_wildcard() ->
    subscribe(<<"a/b">>, 0),
    publish(<<"a/b">>, 1),
    ?assertMatch([#{topic := <<"a/b">>, qos := 0}], received()),
    publish(<<"a/c">>, 1),
    ?assertEqual([], received()),
    subscribe(<<"a/+">>, 1),
    publish(<<"a/c">>, 1),
    ?assertMatch([#{topic := <<"a/c">>, qos := 1}], received()).

once_at_the_highest_qos() ->
    subscribe(<<"a">>, 0),
    subscribe(<<"#">>, 1),
    publish(<<"a">>, 1),
    ?assertMatch([#{qos := 1}], received()).

replaced_subscription() ->
    subscribe(<<"+">>, 1),
    subscribe(<<"+">>, 0),
    publish(<<"a">>, 1),
    ?assertMatch([#{qos := 0}], received()).

unsubscribed() ->
    subscribe(<<"a">>, 0),
    ok = embedded_node_router:unsubscribe(<<"a">>),
    ok = embedded_node_router:unsubscribe(<<"a">>),
    publish(<<"a">>, 0),
    ?assertEqual([], received()).

gone_with_its_process() ->
    {Pid, Ref} = spawn_monitor(fun() ->
        subscribe(<<"a">>, 1),
        subscribe(<<"#">>, 1)
    end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    %% The router has had its own 'DOWN' by the time it answers this.
    ok = embedded_node_router:unsubscribe(<<"x">>),
    ?assertEqual([], ets:tab2list(embedded_node_wildcards)),
    ?assertEqual([], ets:tab2list(embedded_node_subscriptions)).

subscribe(Filter, Qos) ->
    ok = embedded_node_router:subscribe(Filter, Qos).

publish(Topic, Qos) ->
    ok = embedded_node_router:publish(#{topic => Topic, payload => <<"p">>, qos => Qos,
                                        properties => #{}}).

received() ->
    receive {deliver, Message} -> [Message | received()] after 0 -> [] end.

flush() ->
    receive _ -> flush() after 0 -> ok end.
