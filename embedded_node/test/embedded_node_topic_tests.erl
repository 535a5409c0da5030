-module(embedded_node_topic_tests).
-include("check.hrl").

matches_test_() ->
    [?_assertEqual(Expected, embedded_node_topic:matches(Filter, Name)) || {Filter, Name, Expected} <- [
        {<<"a/b">>, <<"a/b">>, true},
        {<<"a/b">>, <<"a/B">>, false},
        {<<"a/b">>, <<"a/b/">>, false},
        {<<"a/+">>, <<"a/b">>, true},
        {<<"a/+">>, <<"a/">>, true},
        {<<"a/+">>, <<"a">>, false},
        {<<"a/+">>, <<"a/b/c">>, false},
        {<<"+/+">>, <<"/finance">>, true},
        {<<"+">>, <<"/finance">>, false},
        {<<"a/#">>, <<"a">>, true},
        {<<"a/#">>, <<"a/b/c">>, true},
        {<<"a/#">>, <<"ab">>, false},
        {<<"#">>, <<"a/b">>, true},
        {<<"#">>, <<"$SYS/x">>, false},
        {<<"+/x">>, <<"$SYS/x">>, false},
        {<<"$SYS/#">>, <<"$SYS/x">>, true}]].

filter_test_() ->
    [?_assertEqual(Expected, embedded_node_topic:is_filter(Filter)) || {Filter, Expected} <- [
        {<<"a">>, true}, {<<"#">>, true}, {<<"a/#">>, true}, {<<"+/a/+">>, true}, {<<"/">>, true},
        {<<>>, false}, {<<"a#">>, false}, {<<"#/a">>, false}, {<<"a+/b">>, false},
        {<<"a/#/b">>, false}]].

name_test_() ->
    [?_assert(embedded_node_topic:is_name(<<"a/b">>)),
     ?_assertNot(embedded_node_topic:is_name(<<>>)),
     ?_assertNot(embedded_node_topic:is_name(<<"a/+">>)),
     ?_assertNot(embedded_node_topic:is_name(<<"#">>))].
