-module(embedded_node_message_tests).
-include("check.hrl").

new_test() ->
    ?assertEqual(#{topic => <<"t">>, payload => <<"p">>, qos => 1, properties => #{},
                   published => 5},
                 embedded_node_message:new(#{topic => <<"t">>, payload => <<"p">>, qos => 2,
                                             retain => false, properties => #{}}, 5)).

without_expiry_it_waits_for_ever_test() ->
    ?assertNot(embedded_node_message:has_expired(message(#{}), 1_000_000_000)),
    ?assertEqual(message(#{}), embedded_node_message:aged(message(#{}), 1_000_000_000)).

expiry_test_() ->
    Message = message(#{message_expiry => 3}),
    [{integer_to_list(Now),
      ?_assertEqual({Expired, Left},
                    {embedded_node_message:has_expired(Message, Now), left(Message, Now)})}
     || {Now, Expired, Left} <- [
        %% A clock that was set back makes no message younger than it is.
        {0, false, 3}, {1000, false, 3}, {1001, false, 3}, {2000, false, 2}, {3999, false, 1},
        {4000, false, 0}, {4001, true, 0}, {9000, true, 0}]].

left(Message, Now) ->
    #{properties := #{message_expiry := Seconds}} = embedded_node_message:aged(Message, Now),
    Seconds.

message(Properties) ->
    #{topic => <<"t">>, payload => <<>>, qos => 1, properties => Properties, published => 1000}.
