-module(embedded_node_session_tests).
-include("check.hrl").

-export([says_what_it_lacks/0, no_properties_before_5/0, assigns_client_ids/0,
         refuses_at_connect/0, refuses_afterwards/0, grants_at_most_qos_1/0,
         no_shared_subscriptions/0, acknowledges_qos_1/0, bounded_by_receive_maximum/0,
         loses_beyond_the_queue/0, respects_maximum_packet_size/0, will_is_published/0,
         disconnect_takes_the_will_back/0]).

-define(MAX_PACKET, 1000).

session_test_() ->
    {setup, fun embedded_node_router_tests:start/0, fun embedded_node_router_tests:stop/1,
     [{atom_to_list(Name), fun() -> ?MODULE:Name() end}
      || Name <- [says_what_it_lacks, no_properties_before_5, assigns_client_ids,
                  refuses_at_connect, refuses_afterwards, grants_at_most_qos_1,
                  no_shared_subscriptions, acknowledges_qos_1, bounded_by_receive_maximum,
                  loses_beyond_the_queue, respects_maximum_packet_size, will_is_published,
                  disconnect_takes_the_will_back]]}.

says_what_it_lacks() ->
    {ok, [{connack, 0, Properties}], _} = embedded_node_session:connect(connect(5), ?MAX_PACKET),
    ?assertMatch(#{session_expiry := 0, maximum_qos := 1, retain_available := 0,
                   shared_subscription_available := 0, maximum_packet_size := ?MAX_PACKET},
                 Properties),
    Names = maps:get(user_property, Properties),
    ?assertEqual(<<"embedded OTP node">>, proplists:get_value(<<"product">>, Names)),
    ?assertEqual(<<"not EMQX">>, proplists:get_value(<<"note">>, Names)),
    ?assertEqual(list_to_binary(erlang:system_info(otp_release)),
                 proplists:get_value(<<"otp_release">>, Names)).

no_properties_before_5() ->
    {ok, [Connack], _} = embedded_node_session:connect(connect(4), ?MAX_PACKET),
    ?assertEqual(<<16#20, 2, 0, 0>>, iolist_to_binary(embedded_node_frame:serialize(Connack, 4))).

assigns_client_ids() ->
    Empty = (connect(5))#{client_id := <<>>},
    {ok, [{connack, 0, #{assigned_client_id := One}}], _} =
        embedded_node_session:connect(Empty, ?MAX_PACKET),
    {ok, [{connack, 0, #{assigned_client_id := Other}}], _} =
        embedded_node_session:connect(Empty, ?MAX_PACKET),
    ?assertNotEqual(One, Other).

refuses_at_connect() ->
    Will = #{topic => <<"w">>, payload => <<>>, qos => 0, retain => false, properties => #{}},
    [?assertMatch({refuse, [{connack, Code, _}], _},
                  embedded_node_session:connect(Connect, ?MAX_PACKET))
     || {Code, Connect} <- [
        {16#8C, (connect(5))#{properties := #{auth_method => <<"SCRAM">>}}},
        {16#9B, (connect(5))#{will := Will#{qos := 2}}},
        {16#9A, (connect(5))#{will := Will#{retain := true}}},
        {2, (connect(4))#{client_id := <<>>, clean_start := false}}]].

refuses_afterwards() ->
    [?assertMatch({stop, [{disconnect, Code}], _, _},
                  embedded_node_session:packet(Packet, session(5, #{})))
     || {Code, Packet} <- [
        {16#9B, {publish, (message())#{qos => 2}}},
        {16#9A, {publish, (message())#{retain => true}}},
        {16#94, {publish, (message())#{properties => #{topic_alias => 1}}}},
        {16#90, {publish, (message())#{topic => <<"a/+">>}}},
        {16#A1, {subscribe, 1, #{subscription_identifier => 1}, [{<<"a">>, options(0)}]}}]].

grants_at_most_qos_1() ->
    ?assertMatch({ok, [{suback, 3, [0, 1, 1]}], _},
                 embedded_node_session:packet(
                     {subscribe, 3, #{}, [{<<"x">>, options(0)}, {<<"y">>, options(1)},
                                          {<<"z">>, options(2)}]}, session(5, #{}))),
    ?assertMatch({ok, [{unsuback, 4, [0, 16#11]}], _},
                 embedded_node_session:packet({unsubscribe, 4, [<<"x">>, <<"never">>]},
                                              session(5, #{}))).

no_shared_subscriptions() ->
    Shared = {subscribe, 1, #{}, [{<<"$share/g/t">>, options(0)}]},
    ?assertMatch({ok, [{suback, 1, [16#9E]}], _},
                 embedded_node_session:packet(Shared, session(5, #{}))),
    ?assertMatch({ok, [{suback, 1, [16#80]}], _},
                 embedded_node_session:packet(Shared, session(4, #{}))).

acknowledges_qos_1() ->
    ?assertMatch({ok, [{puback, 9, 0}], _},
                 embedded_node_session:packet({publish, (message())#{qos => 1, id => 9}},
                                              session(4, #{}))),
    ?assertMatch({ok, [], _},
                 embedded_node_session:packet({publish, message()}, session(4, #{}))).

bounded_by_receive_maximum() ->
    Session0 = session(5, #{receive_maximum => 2}),
    {Sent, Session1} = deliver(5, Session0),
    ?assertEqual([1, 2], ids(Sent)),
    {ok, Next, Session2} = embedded_node_session:packet({puback, 1, 0}, Session1),
    ?assertEqual([3], ids(Next)),
    %% An acknowledgement of nothing frees nothing.
    {ok, None, _} = embedded_node_session:packet({puback, 1, 0}, Session2),
    ?assertEqual([], ids(None)).

loses_beyond_the_queue() ->
    logger:set_primary_config(level, none),
    {Sent, _} = deliver(1005, session(5, #{receive_maximum => 1})),
    logger:set_primary_config(level, notice),
    ?assertEqual([1], ids(Sent)).

respects_maximum_packet_size() ->
    Session = session(5, #{maximum_packet_size => 20}),
    Long = (message())#{payload => binary:copy(<<"x">>, 30)},
    ?assertMatch({ok, [], _}, embedded_node_session:deliver(Long#{qos => 0}, Session)),
    {ok, [], Session1} = embedded_node_session:deliver(Long#{qos => 1}, Session),
    {ok, [{publish, _}], _} = embedded_node_session:deliver((message())#{qos => 1}, Session1).

will_is_published() ->
    ok = embedded_node_router:subscribe(<<"will">>, 1, false),
    Session = with_will(),
    {stop, [], normal, Last} = embedded_node_session:packet({disconnect, 4}, Session),
    ok = embedded_node_session:publish_will(Last),
    ?assertMatch(#{topic := <<"will">>, payload := <<"bye">>, qos := 1},
                 receive {deliver, Message} -> Message after 100 -> none end).

disconnect_takes_the_will_back() ->
    {stop, [], normal, Last} = embedded_node_session:packet({disconnect, 0}, with_will()),
    ok = embedded_node_session:publish_will(Last),
    ?assertEqual(none, receive {deliver, Message} -> Message after 50 -> none end).

with_will() ->
    Will = #{topic => <<"will">>, payload => <<"bye">>, qos => 1, retain => false,
             properties => #{}},
    {ok, _, Session} = embedded_node_session:connect((connect(5))#{will := Will}, ?MAX_PACKET),
    Session.

connect(Version) ->
    #{version => Version, client_id => <<"c">>, clean_start => true, keep_alive => 60,
      will => none, properties => #{}}.

session(Version, Properties) ->
    {ok, _, Session} = embedded_node_session:connect((connect(Version))#{properties := Properties},
                                                     ?MAX_PACKET),
    Session.

message() ->
    #{topic => <<"t">>, payload => <<"p">>, qos => 0, retain => false, id => 0,
      properties => #{}}.

options(Qos) ->
    #{qos => Qos, no_local => false}.

deliver(Count, Session) ->
    lists:foldl(
        fun(_, {Sent, Before}) ->
            {ok, Packets, After} = embedded_node_session:deliver((message())#{qos => 1}, Before),
            {Sent ++ Packets, After}
        end, {[], Session}, lists:seq(1, Count)).

ids(Packets) ->
    [Id || {publish, #{id := Id}} <- Packets].
