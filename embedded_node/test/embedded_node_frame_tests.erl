-module(embedded_node_frame_tests).
-include("check.hrl").

-define(MAX, 1024).
-define(CONNECT_4, <<16#10, 14, 4:16, "MQTT", 4, 2, 60:16, 2:16, "id">>).
-define(CONNECT_5, <<16#10, 18, 4:16, "MQTT", 5, 2, 60:16, 3, 16#21, 10:16, 2:16, "id">>).

%% -- What comes in pieces, or in heaps ------------------------------------------------------

byte_by_byte_test_() ->
    [?_assertEqual(packets(Bytes), packets_in_pieces(Bytes, 1))
     || Bytes <- [?CONNECT_4, ?CONNECT_5, conversation()]].

odd_pieces_test_() ->
    [?_assertEqual(packets(conversation()), packets_in_pieces(conversation(), Size))
     || Size <- [2, 3, 5, 7, 64]].

whole_conversation_test() ->
    {Packets, more} = packets(conversation()),
    ?assertMatch([{connect, #{version := 5, client_id := <<"id">>, keep_alive := 60,
                              properties := #{receive_maximum := 10}}},
                  {subscribe, 7, #{}, [{<<"a/+">>, #{qos := 1, no_local := true}}]},
                  {publish, #{topic := <<"a/b">>, payload := <<"hello">>, qos := 1, id := 8,
                              properties := #{content_type := <<"t">>}}},
                  {puback, 9, 16#10},
                  {unsubscribe, 10, [<<"a/+">>]},
                  pingreq,
                  {disconnect, 4, #{}}], Packets).

nothing_is_no_error_test() ->
    ?assertEqual({[], more}, packets(<<>>)).

%% -- Lengths that lie -----------------------------------------------------------------------

five_length_bytes_test() ->
    ?assertEqual({[], malformed}, packets(<<16#10, 16#FF, 16#FF, 16#FF, 16#FF, 0>>)),
    ?assertEqual({[], malformed}, packets(<<16#10, 16#80, 16#80, 16#80, 16#80, 1>>)).

unfinished_length_waits_test() ->
    ?assertEqual({[], more}, packets(<<16#10, 16#FF, 16#FF, 16#FF>>)).

too_large_is_refused_before_its_body_test() ->
    ?assertEqual({[], packet_too_large}, packets(<<16#10, 16#FF, 16#FF, 16#FF, 16#7F>>)),
    ?assertEqual({[], packet_too_large}, packets(<<16#10, 16#81, 16#08>>)),
    ?assertEqual({[], more}, packets(<<16#10, 16#80, 16#08>>)).

string_longer_than_its_packet_test() ->
    ?assertEqual({[], malformed},
                 packets(<<16#10, 14, 4:16, "MQTT", 4, 2, 60:16, 16#FFFF:16, "id">>)).

properties_longer_than_their_packet_test() ->
    ?assertEqual({[], malformed},
                 packets(<<16#10, 15, 4:16, "MQTT", 5, 2, 60:16, 127, 2:16, "id">>)),
    ?assertEqual({[], malformed},
                 packets(<<16#10, 15, 4:16, "MQTT", 5, 2, 60:16, 16#FF, 2:16, "id">>)).

bytes_after_the_payload_test() ->
    ?assertEqual({[], malformed},
                 packets(<<16#10, 15, 4:16, "MQTT", 4, 2, 60:16, 2:16, "id", 0>>)).

%% -- CONNECT ----------------------------------------------------------------------------------

level_test_() ->
    [?_assertEqual({[], {unsupported_level, 3}},
                   packets(<<16#10, 12, 6:16, "MQIsdp", 3, 2, 60:16>>)),
     ?_assertEqual({[], {unsupported_level, 6}},
                   packets(<<16#10, 10, 4:16, "MQTT", 6, 2, 60:16>>)),
     ?_assertEqual({[], malformed}, packets(<<16#10, 10, 4:16, "HTTP", 4, 2, 60:16>>))].

connect_flags_test_() ->
    [?_assertEqual({[], malformed}, packets(with_flags(Version, Flags)))
     || {Version, Flags} <- [{4, 3}, {4, 2#00011010}, {4, 2#00001010}, {4, 2#00100010},
                             {4, 2#01000010}, {4, 2#00011110}]].

will_is_refused_test_() ->
    [?_assertEqual({[], {will, Version}}, packets(with_flags(Version, 2#00101110)))
     || Version <- [4, 5]].

%% No crash report may show it.
password_is_wrapped_test() ->
    Body = <<4:16, "MQTT", 4, 2#11000010, 0:16, 1:16, "c", 1:16, "u", 6:16, "secret">>,
    {[{connect, #{password := Password} = Connect}], more} =
        packets(<<16#10, (byte_size(Body)), Body/binary>>),
    ?assertEqual(<<"secret">>, Password()),
    ?assertEqual(nomatch, string:find(io_lib:format("~p ~0p", [Connect, Connect]), "secret")),
    {[{connect, Without}], more} = packets(?CONNECT_4),
    ?assertMatch(#{username := none, password := none}, Without),
    ?assertMatch(#{username := <<"u">>}, Connect).

disconnect_properties_test() ->
    ?assertMatch({[_, {disconnect, 0, #{session_expiry := 9}}], more},
                 packets(<<(connect(5))/binary, 16#E0, 7, 0, 5, 16#11, 9:32>>)),
    ?assertMatch({[_, {disconnect, 4, Empty}], more} when map_size(Empty) =:= 0,
                 packets(<<(connect(5))/binary, 16#E0, 1, 4>>)).

duplicate_flag_test() ->
    ?assertMatch({[_, {publish, #{dup := true}}, {publish, #{dup := false}}], more},
                 packets(<<(connect(4))/binary, 16#3A, 5, 1:16, "a", 1:16,
                           16#32, 5, 1:16, "a", 2:16>>)).

connect_comes_first_and_once_test() ->
    ?assertEqual({[], protocol_error}, packets(<<16#C0, 0>>)),
    ?assertEqual({[], protocol_error}, packets(<<"G">>)),
    ?assertEqual({[], malformed}, packets(<<16#11>>)),
    {[_], protocol_error} = packets(<<(?CONNECT_4)/binary, (?CONNECT_4)/binary>>).

%% -- Other packets ----------------------------------------------------------------------------

refused_after_connect_test_() ->
    [{lists:flatten(io_lib:format("~w ~w", [Version, Packet])),
      ?_assertMatch({[_], Reason}, packets(<<(connect(Version))/binary, Packet/binary>>))}
     || {Version, Packet, Reason} <- [
        {4, <<16#36, 5, 1:16, "a", 1:16>>, malformed},              % QoS 3
        {4, <<16#38, 4, 1:16, "a", 1>>, malformed},                 % DUP on QoS 0
        {4, <<16#32, 5, 1:16, "a", 0:16>>, protocol_error},         % packet id 0
        {4, <<16#30, 4, 2:16, 16#C3, 16#28>>, malformed},           % not UTF-8
        {4, <<16#30, 3, 1:16, 0>>, malformed},                      % U+0000
        {4, <<16#80, 6, 1:16, 1:16, "a", 0>>, malformed},           % SUBSCRIBE's flags
        {4, <<16#82, 6, 1:16, 1:16, "a", 3>>, malformed},           % QoS 3
        {4, <<16#82, 6, 1:16, 1:16, "a", 4>>, malformed},           % reserved bits
        {4, <<16#82, 2, 1:16>>, protocol_error},                    % no filter
        {4, <<16#82, 7, 1:16, 2:16, "a#", 0>>, malformed},          % bad filter
        {4, <<16#A2, 2, 1:16>>, protocol_error},
        {4, <<16#C0, 1, 0>>, malformed},
        {4, <<16#50, 2, 1:16>>, protocol_error},                    % PUBREC
        {4, <<16#00, 0>>, protocol_error},
        {4, <<16#E0, 1, 0>>, malformed},                            % a reason before version 5
        {5, <<16#F0, 0>>, protocol_error},                          % AUTH
        {5, <<16#30, 5, 1:16, "a", 1, 16#7E>>, malformed},          % unknown property
        {5, <<16#30, 7, 1:16, "a", 3, 16#21, 1:16>>, malformed},       % another packet's
        {5, <<16#30, 6, 1:16, "a", 2, 16#24, 1>>, malformed},      % a server's
        {5, <<16#30, 8, 1:16, "a", 4, 1, 1, 1, 1>>, protocol_error},    % twice
        {5, <<16#30, 6, 1:16, "a", 2, 1, 2>>, protocol_error},      % out of range
        {5, <<16#82, 7, 1:16, 0, 1:16, "a", 16#30>>, malformed}]].  % retain handling 3

user_properties_may_repeat_test() ->
    Pair = <<16#26, 1:16, "k", 1:16, "v">>,
    ?assertMatch({[_, {publish, #{properties := #{user_property := [{<<"k">>, <<"v">>},
                                                                    {<<"k">>, <<"v">>}]}}}], more},
                 packets(<<(connect(5))/binary, 16#30, 18, 1:16, "a", 14, Pair/binary,
                           Pair/binary>>)).

%% -- Noise --------------------------------------------------------------------------------------

noise_never_crashes_test_() ->
    {timeout, 60, fun() ->
        rand:seed(exsss, {1, 2, 3}),
        [answered(rand:bytes(rand:uniform(60))) || _ <- lists:seq(1, 20000)]
    end}.

mutations_never_crash_test_() ->
    {timeout, 60, fun() ->
        rand:seed(exsss, {4, 5, 6}),
        Sane = conversation(),
        [answered(mutated(Sane)) || _ <- lists:seq(1, 20000)]
    end}.

answered(Bytes) ->
    {Packets, End} = packets(Bytes),
    ?assert(is_list(Packets)),
    ?assert(lists:member(End, [more, malformed, protocol_error, packet_too_large])
            orelse lists:member(element(1, End), [unsupported_level, will])).

mutated(Bytes) ->
    At = rand:uniform(byte_size(Bytes)) - 1,
    <<Before:At/binary, _, After/binary>> = Bytes,
    <<Before/binary, (rand:uniform(256) - 1), After/binary>>.

%% -- What goes out ------------------------------------------------------------------------------

serialize_test_() ->
    [?_assertEqual(Expected, iolist_to_binary(embedded_node_frame:serialize(Packet, Version)))
     || {Packet, Version, Expected} <- [
        {{connack, 0, 0, #{maximum_qos => 1}}, 4, <<16#20, 2, 0, 0>>},
        {{connack, 1, 0, #{}}, 4, <<16#20, 2, 1, 0>>},
        {{connack, 1, 0, #{maximum_qos => 1}}, 5, <<16#20, 5, 1, 0, 2, 16#24, 1>>},
        {{connack, 0, 16#84, #{}}, 5, <<16#20, 3, 0, 16#84, 0>>},
        {{puback, 258, 0}, 4, <<16#40, 2, 1, 2>>},
        {{suback, 1, [0, 16#80]}, 4, <<16#90, 4, 0, 1, 0, 16#80>>},
        {{suback, 1, [0]}, 5, <<16#90, 4, 0, 1, 0, 0>>},
        {{unsuback, 1, [0]}, 4, <<16#B0, 2, 0, 1>>},
        {{unsuback, 1, [16#11]}, 5, <<16#B0, 4, 0, 1, 0, 16#11>>},
        {pingresp, 4, <<16#D0, 0>>},
        {{disconnect, 16#82}, 5, <<16#E0, 1, 16#82>>},
        {{disconnect, 16#82}, 4, <<>>},
        {publish(1, <<"x">>), 4, <<16#32, 6, 1:16, "a", 5:16, "x">>},
        {again(publish(1, <<"x">>)), 4, <<16#3A, 6, 1:16, "a", 5:16, "x">>},
        {publish(0, <<"x">>), 5, <<16#30, 5, 1:16, "a", 0, "x">>}]].

length_boundaries_test_() ->
    [?_assertEqual({Length, Encoded}, encoded_length(Length)) || {Length, Encoded} <- [
        {127, <<16#7F>>}, {128, <<16#80, 1>>}, {16383, <<16#FF, 16#7F>>},
        {16384, <<16#80, 16#80, 1>>}, {2097151, <<16#FF, 16#FF, 16#7F>>},
        {2097152, <<16#80, 16#80, 16#80, 1>>}]].

encoded_length(Length) ->
    Payload = binary:copy(<<0>>, Length - 3),
    Bytes = iolist_to_binary(embedded_node_frame:serialize(publish(0, Payload), 4)),
    {Length, binary:part(Bytes, 1, byte_size(Bytes) - Length - 1)}.

publish(Qos, Payload) ->
    {publish, #{topic => <<"a">>, payload => Payload, qos => Qos, retain => false, dup => false,
                id => 5, properties => #{}}}.

again({publish, Publish}) -> {publish, Publish#{dup := true}}.

%% -- Helpers ------------------------------------------------------------------------------------

connect(4) -> ?CONNECT_4;
connect(5) -> ?CONNECT_5.

with_flags(Version, Flags) ->
    Body = <<4:16, "MQTT", Version, Flags, 0:16, 1:16, "c", 1:16, "t", 1:16, "p">>,
    <<16#10, (byte_size(Body)), Body/binary>>.

conversation() ->
    <<(?CONNECT_5)/binary,
      16#82, 9, 7:16, 0, 3:16, "a/+", 2#00000101,
      16#32, 17, 3:16, "a/b", 8:16, 4, 3, 1:16, "t", "hello",
      16#40, 3, 9:16, 16#10,
      16#A2, 8, 10:16, 0, 3:16, "a/+",
      16#C0, 0,
      16#E0, 1, 4>>.

packets(Bytes) ->
    take(embedded_node_frame:feed(Bytes, embedded_node_frame:new(?MAX)), []).

packets_in_pieces(Bytes, Size) ->
    in_pieces(Bytes, Size, embedded_node_frame:new(?MAX), []).

in_pieces(Bytes, Size, Parser, Found) ->
    {Piece, Rest} = split_binary(Bytes, min(Size, byte_size(Bytes))),
    case take_some(embedded_node_frame:feed(Piece, Parser), Found) of
        {more, _Kept, Packets} when Rest =:= <<>> -> {lists:reverse(Packets), more};
        {more, Kept, Packets} -> in_pieces(Rest, Size, Kept, Packets)
    end.

take(Parser, Found) ->
    case take_some(Parser, Found) of
        {more, _Kept, Packets} -> {lists:reverse(Packets), more};
        {error, Reason, Packets} -> {lists:reverse(Packets), Reason}
    end.

take_some(Parser, Found) ->
    case embedded_node_frame:next(Parser) of
        {ok, Packet, Rest} -> take_some(Rest, [Packet | Found]);
        {more, Kept} -> {more, Kept, Found};
        {error, Reason} -> {error, Reason, Found}
    end.
