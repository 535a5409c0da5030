-module(embedded_node_session_tests).
-include("check.hrl").

-export([says_what_it_lacks/0, no_properties_before_5/0, assigns_client_ids/0,
         refuses_at_connect/0, checks_credentials/0, refuses_afterwards/0, grants_at_most_qos_1/0,
         no_shared_subscriptions/0, acknowledges_qos_1/0, sends_one_at_a_time/0,
         ids_start_again/0, loses_the_oldest_beyond_the_queue/0,
         respects_maximum_packet_size/0, grants_expiry/0, disconnect_changes_expiry/0,
         ends_or_stays/0, keeps_qos_1_while_away/0, sends_again_first/0,
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

%% As even a Receive Maximum of 1 demands.
sends_one_at_a_time() ->
    {Sent, Session1} = deliver(3, session(5, #{receive_maximum => 1})),
    ?assertEqual([1], ids(Sent)),
    %% An acknowledgement of nothing frees nothing.
    {ok, [], Session2} = embedded_node_session:packet({puback, 2, 0}, Session1),
    {ok, Second, Session3} = embedded_node_session:packet({puback, 1, 0}, Session2),
    ?assertEqual([{2, <<"2">>, false}], sent(Second)),
    {ok, [], Session4} = embedded_node_session:packet({puback, 1, 0}, Session3),
    {ok, Third, Session5} = embedded_node_session:packet({puback, 2, 0}, Session4),
    ?assertEqual([{3, <<"3">>, false}], sent(Third)),
    {ok, [], _} = embedded_node_session:packet({puback, 3, 0}, Session5).

ids_start_again() ->
    Last = lists:foldl(
        fun(Id, Before) ->
            {[{publish, #{id := Id}}], Sent} = deliver(1, Before),
            {ok, [], After} = embedded_node_session:packet({puback, Id, 0}, Sent),
            After
        end, session(4, #{}), lists:seq(1, 16#FFFF)),
    ?assertMatch({[{publish, #{id := 1}}], _}, deliver(1, Last)).

loses_the_oldest_beyond_the_queue() ->
    Session0 = session(5, #{}),
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
    {ok, [{publish, #{id := Id}}], Session2} =
        embedded_node_session:deliver((message())#{qos => 1}, Session1),
    %% As if it had been acknowledged, here and when it is to be sent again.
    {ok, [], Session3} = embedded_node_session:deliver(Long#{qos => 1}, Session2),
    {ok, [], Session4} = embedded_node_session:deliver((message())#{qos => 1}, Session3),
    ?assertMatch({ok, [{publish, #{payload := <<"p">>}}], _},
                 embedded_node_session:packet({puback, Id, 0}, Session4)),
    {[_], Away} = deliver(1, session(5, #{session_expiry => 60})),
    ?assertMatch({[_Connack], _}, resumed(embedded_node_session:leave(Away),
                                          #{maximum_packet_size => 5})).

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
    {Packets, Back} = resumed(Away2, #{}),
    {Rest, _} = acknowledged([1, 2, 3], Back),
    ?assertEqual([{1, <<"1">>, false}, {2, <<"2">>, false}, {3, <<"3">>, false}],
                 sent(Packets ++ Rest)).

sends_again_first() ->
    {_, Session1} = deliver(2, session(5, #{session_expiry => 60})),
    {_, Away1} = deliver(1, embedded_node_session:leave(Session1)),
    {Once, Session2} = resumed(Away1, #{session_expiry => 60}),
    ?assertEqual([{1, <<"1">>, true}], sent(Once)),
    %% And again, until it is acknowledged.
    {Twice, Session3} = resumed(embedded_node_session:leave(Session2), #{session_expiry => 60}),
    ?assertEqual([{1, <<"1">>, true}], sent(Twice)),
    {Rest, Session4} = acknowledged([1, 2, 3], Session3),
    ?assertEqual([{2, <<"2">>, false}, {3, <<"1">>, false}], sent(Rest)),
    {None, _} = resumed(embedded_node_session:leave(Session4), #{}),
    ?assertEqual([], sent(None)).

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

acknowledged(Ids, Session) ->
    lists:foldl(
        fun(Id, {Sent, Before}) ->
            {ok, Packets, After} = embedded_node_session:packet({puback, Id, 0}, Before),
            {Sent ++ Packets, After}
        end, {[], Session}, Ids).

sent(Packets) ->
    [{Id, Payload, Dup} || {publish, #{id := Id, payload := Payload, dup := Dup}} <- Packets].

ids(Packets) ->
    [Id || {publish, #{id := Id}} <- Packets].

quietly(Do) ->
    logger:set_primary_config(level, none),
    try Do() after logger:set_primary_config(level, notice) end.
