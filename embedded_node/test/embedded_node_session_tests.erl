-module(embedded_node_session_tests).
-include("check.hrl").

-export([says_what_it_lacks/0, no_properties_before_5/0, assigns_client_ids/0,
         refuses_at_connect/0, checks_credentials/0, refuses_afterwards/0, grants_at_most_qos_1/0,
         no_shared_subscriptions/0, acknowledges_qos_1/0, bounded_by_receive_maximum/0,
         bounded_without_receive_maximum/0, loses_the_oldest_beyond_the_queue/0,
         respects_maximum_packet_size/0, grants_expiry/0, disconnect_changes_expiry/0,
         ends_or_stays/0, keeps_qos_1_while_away/0, sends_again_in_order/0,
         sends_again_within_receive_maximum/0, late_acknowledgement/0,
         refuses_wills/0, refuses_what_may_expire/0, refuses_no_local/0]).

-define(MAX_PACKET, 1000).

session_test_() ->
    {setup, fun embedded_node_router_tests:start/0, fun embedded_node_router_tests:stop/1,
     [{atom_to_list(Name), fun() -> ?MODULE:Name() end}
      || {Name, 0} <- proplists:get_value(exports, ?MODULE:module_info()),
         not lists:member(Name, [module_info, test, session_test_])]}.

says_what_it_lacks() ->
    {[{connack, 0, 0, Properties}], _} = opened(connect(5)),
    ?assertMatch(#{maximum_qos := 1, retain_available := 0, shared_subscription_available := 0,
                   maximum_packet_size := ?MAX_PACKET},
                 Properties),
    Names = maps:get(user_property, Properties),
    ?assertEqual(<<"embedded OTP node">>, proplists:get_value(<<"product">>, Names)),
    ?assertEqual(<<"not EMQX">>, proplists:get_value(<<"note">>, Names)),
    ?assertEqual(list_to_binary(erlang:system_info(otp_release)),
                 proplists:get_value(<<"otp_release">>, Names)).

no_properties_before_5() ->
    {[Connack], _} = opened(connect(4)),
    ?assertEqual(<<16#20, 2, 0, 0>>, iolist_to_binary(embedded_node_frame:serialize(Connack, 4))).

assigns_client_ids() ->
    Empty = (connect(5))#{client_id := <<>>},
    {[{connack, 0, 0, #{assigned_client_id := One}}], _} = opened(Empty),
    {[{connack, 0, 0, #{assigned_client_id := Other}}], _} = opened(Empty),
    ?assertNotEqual(One, Other).

refuses_at_connect() ->
    [?assertMatch({refuse, [{connack, 0, Code, _}], _}, embedded_node_session:admit(Connect, none))
     || {Code, Connect} <- [
        {16#8C, (connect(5))#{properties := #{auth_method => <<"SCRAM">>}}},
        {2, (connect(4))#{client_id := <<>>, clean_start := false}}]].

refuses_wills() ->
    ?assertEqual({5, [{connack, 0, 16#83, #{}}]}, embedded_node_session:refusal({will, 5}, undefined)),
    ?assertEqual({4, []}, embedded_node_session:refusal({will, 4}, undefined)).

checks_credentials() ->
    Salt = <<"salt">>,
    Users = [#{username => <<"u">>, salt => binary:encode_hex(Salt), iterations => 10,
               hash => binary:encode_hex(crypto:pbkdf2_hmac(sha256, <<"p">>, Salt, 10, 32))}],
    [?assertMatch({refuse, [{connack, 0, Code, _}], bad_user_name_or_password},
                  embedded_node_session:admit(connect(Version), Users))
     || {Version, Code} <- [{5, 16#86}, {4, 4}]],
    Right = (connect(5))#{username := <<"u">>, password := fun() -> <<"p">> end},
    {ok, Admitted} = embedded_node_session:admit(Right, Users),
    ?assertNot(maps:is_key(password, Admitted)),
    ?assertNot(maps:is_key(username, Admitted)).

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
    {ok, _, Subscribed} = embedded_node_session:packet(
        {subscribe, 3, #{}, [{<<"x">>, options(1)}]}, session(5, #{})),
    ?assertEqual(#{<<"x">> => 1}, embedded_node_session:subscriptions(Subscribed)),
    ?assertMatch({ok, [{unsuback, 4, [0, 16#11]}], _},
                 embedded_node_session:packet({unsubscribe, 4, [<<"x">>, <<"never">>]},
                                              Subscribed)).

no_shared_subscriptions() ->
    Shared = {subscribe, 1, #{}, [{<<"$share/g/t">>, options(0)}]},
    ?assertMatch({ok, [{suback, 1, [16#9E]}], _},
                 embedded_node_session:packet(Shared, session(5, #{}))),
    ?assertMatch({ok, [{suback, 1, [16#80]}], _},
                 embedded_node_session:packet(Shared, session(4, #{}))).

refuses_no_local() ->
    NoLocal = #{qos => 1, no_local => true},
    {ok, [{suback, 1, [16#83, 0]}], Session} = embedded_node_session:packet(
        {subscribe, 1, #{}, [{<<"mine">>, NoLocal}, {<<"t">>, options(0)}]}, session(5, #{})),
    ?assertEqual(#{<<"t">> => 0}, embedded_node_session:subscriptions(Session)).

acknowledges_qos_1() ->
    ?assertMatch({ok, [{puback, 9, 0}], _},
                 embedded_node_session:packet({publish, (message())#{qos => 1, id => 9}},
                                              session(4, #{}))),
    ?assertMatch({ok, [], _},
                 embedded_node_session:packet({publish, message()}, session(4, #{}))).

%% Only where it may have to wait.
refuses_what_may_expire() ->
    ok = embedded_node_router:subscribe(<<"short">>, 1),
    Expiring = (message())#{topic => <<"short">>, properties => #{message_expiry => 3}},
    ?assertMatch({ok, [{puback, 9, 16#83}], _},
                 embedded_node_session:packet({publish, Expiring#{qos => 1, id => 9}},
                                              session(5, #{}))),
    {ok, [], _} = embedded_node_session:packet({publish, Expiring}, session(5, #{})),
    ?assertEqual([#{topic => <<"short">>, payload => <<"p">>, qos => 0,
                    properties => #{message_expiry => 3}}],
                 [Message || #{topic := <<"short">>} = Message <-
                     embedded_node_router_tests:received()]).

bounded_by_receive_maximum() ->
    Session0 = session(5, #{receive_maximum => 2}),
    {Sent, Session1} = deliver(5, Session0),
    ?assertEqual([1, 2], ids(Sent)),
    {ok, Next, Session2} = embedded_node_session:packet({puback, 1, 0}, Session1),
    ?assertEqual([3], ids(Next)),
    %% An acknowledgement of nothing frees nothing.
    {ok, None, _} = embedded_node_session:packet({puback, 1, 0}, Session2),
    ?assertEqual([], ids(None)).

%% EMQX's max_inflight.
bounded_without_receive_maximum() ->
    {Sent, _} = deliver(40, session(4, #{})),
    ?assertEqual(lists:seq(1, 32), ids(Sent)).

loses_the_oldest_beyond_the_queue() ->
    Session0 = session(5, #{receive_maximum => 1}),
    {Sent, Session1} = quietly(fun() -> deliver(1005, Session0) end),
    ?assertEqual([1], ids(Sent)),
    {ok, [{publish, #{payload := Next}}], _} =
        embedded_node_session:packet({puback, 1, 0}, Session1),
    %% The first was sent, 2 to 5 made room for the last ones.
    ?assertEqual(<<"6">>, Next).

respects_maximum_packet_size() ->
    Session = session(5, #{maximum_packet_size => 20}),
    Long = (message())#{payload => binary:copy(<<"x">>, 30)},
    ?assertMatch({ok, [], _}, embedded_node_session:deliver(Long#{qos => 0}, Session)),
    {ok, [], Session1} = embedded_node_session:deliver(Long#{qos => 1}, Session),
    {ok, [{publish, _}], _} = embedded_node_session:deliver((message())#{qos => 1}, Session1).

%% -- Away, and back ---------------------------------------------------------------------------

grants_expiry() ->
    [begin
         {[{connack, 0, 0, Properties}], Session} = opened(Connect),
         ?assertEqual(Granted, embedded_node_session:expiry(Session)),
         ?assertEqual(Announced, maps:get(session_expiry, Properties, asked))
     end || {Connect, Granted, Announced} <- [
        {connect(4), 0, asked},
        {(connect(4))#{clean_start := false}, 7200, asked},
        {connect(5), 0, asked},
        {expiring(0), 0, asked},
        {expiring(60), 60, asked},
        {expiring(7200), 7200, asked},
        {expiring(7201), 7200, 7200},
        {expiring(16#FFFFFFFF), 7200, 7200}]].

disconnect_changes_expiry() ->
    Expiry = fun(Seconds, Session) ->
        embedded_node_session:packet({disconnect, 0, #{session_expiry => Seconds}}, Session)
    end,
    {_, Session} = opened(expiring(60)),
    [begin
         {stop, [], normal, Last} = Expiry(Asked, Session),
         ?assertEqual(Granted, embedded_node_session:expiry(Last))
     end || {Asked, Granted} <- [{0, 0}, {5, 5}, {16#FFFFFFFF, 7200}]],
    {_, Without} = opened(connect(5)),
    ?assertMatch({stop, [{disconnect, 16#82}], _, _}, Expiry(5, Without)),
    ?assertMatch({stop, [], normal, _}, Expiry(0, Without)).

ends_or_stays() ->
    {_, Ends} = opened(connect(5)),
    ?assertEqual(none, embedded_node_session:leave(Ends)),
    {_, Stays} = opened(expiring(60)),
    Away = embedded_node_session:leave(Stays),
    {ok, [{connack, 1, 0, _}], Back} = embedded_node_session:resume(admitted(connect(5)),
                                                                    ?MAX_PACKET, Away),
    %% Each CONNECT says anew for how long.
    ?assertEqual(0, embedded_node_session:expiry(Back)).

keeps_qos_1_while_away() ->
    Away0 = embedded_node_session:leave(session(5, #{session_expiry => 60})),
    {ok, [], Away1} = embedded_node_session:deliver(message(), Away0),
    {None, Away2} = deliver(3, Away1),
    ?assertEqual([], None),
    {Packets, _} = resumed(Away2, #{}),
    ?assertEqual([{1, <<"1">>, false}, {2, <<"2">>, false}, {3, <<"3">>, false}], sent(Packets)).

sends_again_in_order() ->
    {_, Session0} = deliver(3, session(5, #{session_expiry => 60})),
    {ok, [], Session1} = embedded_node_session:packet({puback, 2, 0}, Session0),
    Away0 = embedded_node_session:leave(Session1),
    {_, Away1} = deliver(1, Away0),
    {Packets, Session2} = resumed(Away1, #{session_expiry => 60}),
    ?assertEqual([{1, <<"1">>, true}, {3, <<"3">>, true}, {4, <<"1">>, false}], sent(Packets)),
    %% And again, until it is acknowledged.
    Away2 = embedded_node_session:leave(Session2),
    {Again, Session3} = resumed(Away2, #{}),
    ?assertEqual([{1, <<"1">>, true}, {3, <<"3">>, true}, {4, <<"1">>, true}], sent(Again)),
    Acknowledged = lists:foldl(
        fun(Id, Before) ->
            {ok, [], After} = embedded_node_session:packet({puback, Id, 0}, Before),
            After
        end, Session3, [1, 3, 4]),
    {Next, _} = deliver(1, Acknowledged),
    ?assertEqual([{5, <<"1">>, false}], sent(Next)).

sends_again_within_receive_maximum() ->
    {_, Session} = deliver(3, session(5, #{session_expiry => 60})),
    Away = embedded_node_session:leave(Session),
    {Packets, Session1} = resumed(Away, #{session_expiry => 60, receive_maximum => 2}),
    ?assertEqual([1, 2], ids(Packets)),
    Away1 = embedded_node_session:leave(Session1),
    {Again, Session2} = resumed(Away1, #{receive_maximum => 1}),
    ?assertEqual([1], ids(Again)),
    {ok, Second, Session3} = embedded_node_session:packet({puback, 1, 0}, Session2),
    {ok, Third, _} = embedded_node_session:packet({puback, 2, 0}, Session3),
    ?assertEqual([{2, <<"2">>, true}, {3, <<"3">>, true}], sent(Second) ++ sent(Third)).

%% The client has the message, and says so, before it is sent again.
late_acknowledgement() ->
    {_, Session} = deliver(2, session(5, #{session_expiry => 60})),
    Away = embedded_node_session:leave(Session),
    {[_, _], Session1} = resumed(Away, #{receive_maximum => 1}),
    {ok, [], Session2} = embedded_node_session:packet({puback, 2, 0}, Session1),
    ?assertMatch({ok, [], _}, embedded_node_session:packet({puback, 1, 0}, Session2)).

%% -- Helpers ------------------------------------------------------------------------------------

connect(Version) ->
    #{version => Version, client_id => <<"c">>, clean_start => true, keep_alive => 60,
      properties => #{}, username => none, password => none}.

expiring(Seconds) ->
    (connect(5))#{properties := #{session_expiry => Seconds}}.

admitted(Connect) ->
    {ok, Admitted} = embedded_node_session:admit(Connect, none),
    Admitted.

opened(Connect) ->
    {ok, Packets, Session} = embedded_node_session:open(admitted(Connect), ?MAX_PACKET),
    {Packets, Session}.

resumed(Away, Properties) ->
    {ok, [{connack, 1, 0, _} | _] = Packets, Session} =
        embedded_node_session:resume(admitted((connect(5))#{properties := Properties}),
                                     ?MAX_PACKET, Away),
    {Packets, Session}.

session(Version, Properties) ->
    {_, Session} = opened((connect(Version))#{properties := Properties}),
    Session.

message() ->
    #{topic => <<"t">>, payload => <<"p">>, qos => 0, retain => false, dup => false, id => 0,
      properties => #{}}.

options(Qos) ->
    #{qos => Qos, no_local => false}.

%% Messages that are numbered, of QoS 1.
deliver(Count, Session) ->
    lists:foldl(
        fun(Number, {Sent, Before}) ->
            {ok, Packets, After} = embedded_node_session:deliver(
                (message())#{qos => 1, payload := integer_to_binary(Number)}, Before),
            {Sent ++ Packets, After}
        end, {[], Session}, lists:seq(1, Count)).

sent(Packets) ->
    [{Id, Payload, Dup} || {publish, #{id := Id, payload := Payload, dup := Dup}} <- Packets].

ids(Packets) ->
    [Id || {publish, #{id := Id}} <- Packets].

quietly(Do) ->
    logger:set_primary_config(level, none),
    try Do() after logger:set_primary_config(level, notice) end.
