%% @doc MQTT packets from bytes and back (MQTT 3.1.1 and 5.0, chapters 2 and 3).
%%
%% The parser takes whatever TCP brings, keeps what is incomplete, and refuses a length
%% before it would have to store it.
-module(embedded_node_frame).

-export([new/1, feed/2, next/1, version/1]).
-export([serialize/2]).
-export_type([parser/0, packet/0, connect/0, properties/0, version/0]).

-record(parser, {
    buffer = <<>> :: binary(),
    max :: pos_integer(),
    version = undefined :: version() | undefined
}).

-opaque parser() :: #parser{}.
-type version() :: 4 | 5.
-type properties() :: #{atom() => term()}.
-type qos() :: 0..2.
%% The password is wrapped, so that no crash report can show it.
-type connect() ::
    #{version := version(), client_id := binary(), clean_start := boolean(),
      keep_alive := 0..16#FFFF, properties := properties(),
      username := binary() | none, password := fun(() -> binary()) | none}.
-type packet() ::
    {connect, connect()}
  | {connack, SessionPresent :: 0..1, Code :: byte(), properties()}
  | {publish, #{topic := binary(), payload := binary(), qos := qos(), retain := boolean(),
                dup := boolean(), id := 0..16#FFFF, properties := properties()}}
  | {puback, Id :: 1..16#FFFF, Code :: byte()}
  | {subscribe, Id :: 1..16#FFFF, properties(), [{binary(), #{qos := qos(), no_local := boolean()}}]}
  | {suback, Id :: 1..16#FFFF, [byte()]}
  | {unsubscribe, Id :: 1..16#FFFF, [binary()]}
  | {unsuback, Id :: 1..16#FFFF, [byte()]}
  | pingreq
  | pingresp
  | {disconnect, Code :: byte(), properties()}    % from the client
  | {disconnect, Code :: byte()}.                 % from this node
-type refusal() ::
    malformed | protocol_error | packet_too_large | {unsupported_level, byte()} | {will, version()}.

-define(CONNECT, 1).
-define(CONNACK, 2).
-define(PUBLISH, 3).
-define(PUBACK, 4).
-define(SUBSCRIBE, 8).
-define(SUBACK, 9).
-define(UNSUBSCRIBE, 10).
-define(UNSUBACK, 11).
-define(PINGREQ, 12).
-define(PINGRESP, 13).
-define(DISCONNECT, 14).

%% @doc A parser that accepts packets of up to `Max' bytes, fixed header not counted.
-spec new(pos_integer()) -> parser().
new(Max) ->
    #parser{max = Max}.

%% @doc The version that CONNECT declared.
-spec version(parser()) -> version() | undefined.
version(#parser{version = Version}) ->
    Version.

-spec feed(binary(), parser()) -> parser().
feed(Bytes, #parser{buffer = Buffer} = Parser) ->
    Parser#parser{buffer = <<Buffer/binary, Bytes/binary>>}.

%% @doc Take the next whole packet. The parser is of no use after an error.
-spec next(parser()) -> {ok, packet(), parser()} | {more, parser()} | {error, refusal()}.
%% Nothing but CONNECT may come first (3.1), which the first byte tells.
next(#parser{buffer = <<?CONNECT:4, Flags:4, _/binary>>, version = undefined}) when Flags > 0 ->
    {error, malformed};
next(#parser{buffer = <<Type:4, _/bitstring>>, version = undefined}) when Type =/= ?CONNECT ->
    {error, protocol_error};
next(#parser{buffer = <<Type:4, Flags:4, Rest/binary>>} = Parser) ->
    case remaining_length(Rest, 0, 0) of
        more -> {more, Parser};
        malformed -> {error, malformed};
        {Length, _} when Length > Parser#parser.max -> {error, packet_too_large};
        {Length, Bytes} when byte_size(Bytes) >= Length ->
            <<Body:Length/binary, Tail/binary>> = Bytes,
            decode(Type, Flags, Body, Parser#parser{buffer = Tail});
        {_Length, _Incomplete} -> {more, Parser}
    end;
next(Parser) ->
    {more, Parser}.

%% At most four bytes (2.2.3): a fifth continuation is malformed, whatever it holds.
remaining_length(_Bytes, _Value, 28) -> malformed;
remaining_length(<<1:1, Low:7, Rest/binary>>, Value, Shift) ->
    remaining_length(Rest, Value bor (Low bsl Shift), Shift + 7);
remaining_length(<<0:1, Low:7, Rest/binary>>, Value, Shift) ->
    {Value bor (Low bsl Shift), Rest};
remaining_length(<<>>, _Value, _Shift) -> more.

decode(Type, Flags, Body, Parser) ->
    try packet(Type, Flags, Body, Parser#parser.version) of
        {connect, #{version := Version}} = Packet ->
            {ok, Packet, Parser#parser{version = Version}};
        Packet -> {ok, Packet, Parser}
    catch
        throw:Refusal -> {error, Refusal}
    end.

packet(?CONNECT, 0, Body, undefined) -> connect(Body);
%% And it may come only once (3.1).
packet(?CONNECT, _Flags, _Body, _Version) -> throw(protocol_error);
packet(?PUBLISH, Flags, Body, Version) -> publish(<<Flags:4>>, Body, Version);
packet(?PUBACK, 0, <<Id:16>>, _Version) -> {puback, packet_id(Id), 0};
packet(?PUBACK, 0, <<Id:16, Code, Rest/binary>>, 5) ->
    _ = trailing_properties(Rest, [reason_string]),
    {puback, packet_id(Id), Code};
packet(?SUBSCRIBE, 2#0010, <<Id:16, Rest/binary>>, Version) ->
    {Properties, Filters} = properties(Rest, Version, [subscription_identifier]),
    {subscribe, packet_id(Id), Properties, subscriptions(Filters, Version)};
packet(?UNSUBSCRIBE, 2#0010, <<Id:16, Rest/binary>>, Version) ->
    {_Properties, Filters} = properties(Rest, Version, []),
    {unsubscribe, packet_id(Id), filters(Filters)};
packet(?PINGREQ, 0, <<>>, _Version) -> pingreq;
packet(?DISCONNECT, 0, <<>>, _Version) -> {disconnect, 0, #{}};
packet(?DISCONNECT, 0, <<Code, Rest/binary>>, 5) ->
    {disconnect, Code,
     trailing_properties(Rest, [session_expiry, reason_string, server_reference])};
packet(Type, _Flags, _Body, _Version) when Type =:= 0; Type =:= 15 -> throw(protocol_error);
%% PUBREC, PUBREL and PUBCOMP belong to QoS 2, which CONNACK does not offer.
packet(Type, _Flags, _Body, _Version) when Type >= 5, Type =< 7 -> throw(protocol_error);
packet(_Type, _Flags, _Body, _Version) -> throw(malformed).

connect(<<4:16, "MQTT", Level, Rest/binary>>) when Level =:= 4; Level =:= 5 ->
    connect_flags(Level, Rest);
connect(<<4:16, "MQTT", Level, _/binary>>) -> throw({unsupported_level, Level});
connect(<<6:16, "MQIsdp", Level, _/binary>>) -> throw({unsupported_level, Level});
connect(_Other) -> throw(malformed).

connect_flags(Version, <<User:1, Password:1, WillRetain:1, WillQos:2, Will:1, Clean:1, 0:1,
                         KeepAlive:16, Rest/binary>>) ->
    ok = sane_connect_flags(Version, User, Password, WillRetain, WillQos, Will),
    %% A will that is accepted is to be published (3.1.2.5); nothing here needs one.
    Will =:= 0 orelse throw({will, Version}),
    {Properties, AfterProperties} =
        properties(Rest, Version, [session_expiry, auth_method, auth_data, request_problem,
                                   request_response, receive_maximum, topic_alias_maximum,
                                   maximum_packet_size]),
    {ClientId, AfterId} = string(AfterProperties),
    {UserName, AfterUser} = optional(User, fun string/1, AfterId),
    {ThePassword, Nothing} = optional(Password, fun bytes/1, AfterUser),
    Nothing =:= <<>> orelse throw(malformed),
    {connect, #{version => Version, client_id => ClientId, clean_start => Clean =:= 1,
                keep_alive => KeepAlive, properties => Properties,
                username => UserName, password => wrapped(ThePassword)}};
connect_flags(_Version, _Rest) -> throw(malformed).

wrapped(none) -> none;
wrapped(Password) -> fun() -> Password end.

%% 3.1.2.5 and following; a password without a user name is allowed from version 5 on.
sane_connect_flags(_Version, _User, _Password, _Retain, 3, _Will) -> throw(malformed);
sane_connect_flags(_Version, _User, _Password, Retain, Qos, 0) when Retain + Qos > 0 ->
    throw(malformed);
sane_connect_flags(4, 0, 1, _Retain, _Qos, _Will) -> throw(malformed);
sane_connect_flags(_Version, _User, _Password, _Retain, _Qos, _Will) -> ok.

publish(<<_Dup:1, 3:2, _Retain:1>>, _Body, _Version) -> throw(malformed);
publish(<<1:1, 0:2, _Retain:1>>, _Body, _Version) -> throw(malformed);
publish(<<Dup:1, Qos:2, Retain:1>>, Body, Version) ->
    {Topic, AfterTopic} = string(Body),
    {Id, AfterId} = publish_id(Qos, AfterTopic),
    {Properties, Payload} =
        properties(AfterId, Version, [payload_format, message_expiry, topic_alias, response_topic,
                                      correlation_data, content_type]),
    {publish, #{topic => Topic, payload => Payload, qos => Qos, retain => Retain =:= 1,
                dup => Dup =:= 1, id => Id, properties => Properties}}.

publish_id(0, Rest) -> {0, Rest};
publish_id(_Qos, <<Id:16, Rest/binary>>) -> {packet_id(Id), Rest};
publish_id(_Qos, _Rest) -> throw(malformed).

packet_id(0) -> throw(protocol_error);
packet_id(Id) -> Id.

subscriptions(<<>>, _Version) -> throw(protocol_error);
subscriptions(Bytes, Version) -> subscriptions(Bytes, Version, []).

subscriptions(<<>>, _Version, Found) -> lists:reverse(Found);
subscriptions(Bytes, Version, Found) ->
    {Filter, Rest} = string(Bytes),
    embedded_node_topic:is_filter(Filter) orelse throw(malformed),
    {Options, Tail} = subscription_options(Version, Rest),
    subscriptions(Tail, Version, [{Filter, Options} | Found]).

subscription_options(4, <<0:6, Qos:2, Rest/binary>>) when Qos < 3 ->
    {#{qos => Qos, no_local => false}, Rest};
subscription_options(5, <<0:2, RetainHandling:2, _RetainAsPublished:1, NoLocal:1, Qos:2,
                          Rest/binary>>) when Qos < 3, RetainHandling < 3 ->
    {#{qos => Qos, no_local => NoLocal =:= 1}, Rest};
subscription_options(_Version, _Rest) -> throw(malformed).

filters(<<>>) -> throw(protocol_error);
filters(Bytes) -> filters(Bytes, []).

filters(<<>>, Found) -> lists:reverse(Found);
filters(Bytes, Found) ->
    {Filter, Rest} = string(Bytes),
    embedded_node_topic:is_filter(Filter) orelse throw(malformed),
    filters(Rest, [Filter | Found]).

optional(0, _Take, Rest) -> {none, Rest};
optional(1, Take, Rest) -> Take(Rest).

%% UTF-8, well-formed and without U+0000 (1.5.3 in 3.1.1, 1.5.4 in 5.0).
string(Bytes) ->
    {Text, Rest} = bytes(Bytes),
    case unicode:characters_to_binary(Text) of
        Text -> binary:match(Text, <<0>>) =:= nomatch orelse throw(malformed);
        _ -> throw(malformed)
    end,
    {Text, Rest}.

bytes(<<Length:16, Bytes:Length/binary, Rest/binary>>) -> {Bytes, Rest};
bytes(_Short) -> throw(malformed).

%% Properties (5.0, 2.2.2): one that the packet may not carry makes it malformed; User Property may
%% stand in each.
properties(Bytes, 4, _Allowed) -> {#{}, Bytes};
properties(Bytes, 5, Allowed) ->
    case remaining_length(Bytes, 0, 0) of
        {Length, After} when is_integer(Length), byte_size(After) >= Length ->
            <<Block:Length/binary, Rest/binary>> = After,
            {each_property(Block, [user_property | Allowed], #{}), Rest};
        _ -> throw(malformed)
    end.

%% PUBACK and DISCONNECT may leave out the length too.
trailing_properties(<<>>, _Allowed) -> #{};
trailing_properties(Bytes, Allowed) ->
    case properties(Bytes, 5, Allowed) of
        {Properties, <<>>} -> Properties;
        _ -> throw(malformed)
    end.

each_property(<<>>, _Allowed, Found) -> Found;
each_property(<<Code, Bytes/binary>>, Allowed, Found) ->
    {Name, Value, Rest} = property(Code, Bytes),
    lists:member(Name, Allowed) orelse throw(malformed),
    each_property(Rest, Allowed, remember(Name, Value, Found)).

remember(user_property, Pair, Found) ->
    maps:update_with(user_property, fun(Pairs) -> Pairs ++ [Pair] end, [Pair], Found);
remember(Name, _Value, Found) when is_map_key(Name, Found) -> throw(protocol_error);
remember(Name, Value, Found) -> Found#{Name => Value}.

property(Code, Bytes) ->
    {Name, Type} = property_type(Code),
    {Value, Rest} = value(Type, Bytes),
    in_range(Name, Value) orelse throw(protocol_error),
    {Name, Value, Rest}.

in_range(receive_maximum, 0) -> false;
in_range(maximum_packet_size, 0) -> false;
in_range(subscription_identifier, 0) -> false;
in_range(Name, Value) when Name =:= request_problem; Name =:= request_response;
                           Name =:= payload_format -> Value =< 1;
in_range(_Name, _Value) -> true.

value(byte, <<Value, Rest/binary>>) -> {Value, Rest};
value(two, <<Value:16, Rest/binary>>) -> {Value, Rest};
value(four, <<Value:32, Rest/binary>>) -> {Value, Rest};
value(string, Bytes) -> string(Bytes);
value(bytes, Bytes) -> bytes(Bytes);
value(pair, Bytes) ->
    {Key, Rest} = string(Bytes),
    {Value, Tail} = string(Rest),
    {{Key, Value}, Tail};
value(varint, Bytes) ->
    case remaining_length(Bytes, 0, 0) of
        {Value, Rest} -> {Value, Rest};
        _ -> throw(malformed)
    end;
value(_Type, _Short) -> throw(malformed).

property_type(16#01) -> {payload_format, byte};
property_type(16#02) -> {message_expiry, four};
property_type(16#03) -> {content_type, string};
property_type(16#08) -> {response_topic, string};
property_type(16#09) -> {correlation_data, bytes};
property_type(16#0B) -> {subscription_identifier, varint};
property_type(16#11) -> {session_expiry, four};
property_type(16#15) -> {auth_method, string};
property_type(16#16) -> {auth_data, bytes};
property_type(16#17) -> {request_problem, byte};
property_type(16#19) -> {request_response, byte};
property_type(16#1C) -> {server_reference, string};
property_type(16#1F) -> {reason_string, string};
property_type(16#21) -> {receive_maximum, two};
property_type(16#22) -> {topic_alias_maximum, two};
property_type(16#23) -> {topic_alias, two};
property_type(16#26) -> {user_property, pair};
property_type(16#27) -> {maximum_packet_size, four};
%% Unknown, or a server's own.
property_type(_Other) -> throw(malformed).

%% @doc The bytes of what this node sends.
-spec serialize(packet(), version()) -> iodata().
serialize({connack, Present, Code, _Properties}, 4) -> fixed(?CONNACK, 0, <<Present, Code>>);
serialize({connack, Present, Code, Properties}, 5) ->
    fixed(?CONNACK, 0, [<<Present, Code>>, property_block(Properties)]);
serialize({publish, #{topic := Topic, payload := Payload, qos := Qos, dup := Dup, id := Id,
                      properties := Properties}}, Version) ->
    fixed(?PUBLISH, (flag(Dup) bsl 3) bor (Qos bsl 1),
          [length_prefixed(Topic), [<<Id:16>> || Qos > 0],
           [property_block(Properties) || Version =:= 5], Payload]);
serialize({puback, Id, 0}, _Version) -> fixed(?PUBACK, 0, <<Id:16>>);
serialize({puback, Id, Code}, 5) -> fixed(?PUBACK, 0, <<Id:16, Code>>);
serialize({suback, Id, Codes}, Version) ->
    fixed(?SUBACK, 0, [<<Id:16>>, [<<0>> || Version =:= 5], Codes]);
serialize({unsuback, Id, _Codes}, 4) -> fixed(?UNSUBACK, 0, <<Id:16>>);
serialize({unsuback, Id, Codes}, 5) -> fixed(?UNSUBACK, 0, [<<Id:16, 0>>, Codes]);
serialize(pingresp, _Version) -> fixed(?PINGRESP, 0, <<>>);
%% A server may say why only from version 5 on; before, it just closes.
serialize({disconnect, Code}, 5) -> fixed(?DISCONNECT, 0, <<Code>>);
serialize({disconnect, _Code}, 4) -> [].

flag(true) -> 1;
flag(false) -> 0.

fixed(Type, Flags, Body) ->
    [<<Type:4, Flags:4>>, varint(iolist_size(Body)), Body].

varint(Number) when Number < 128 -> <<Number>>;
varint(Number) -> <<1:1, (Number rem 128):7, (varint(Number div 128))/binary>>.

property_block(Properties) ->
    Block = [property_bytes(Name, Value) || {Name, Value} <- lists:sort(maps:to_list(Properties))],
    [varint(iolist_size(Block)), Block].

property_bytes(user_property, Pairs) ->
    [[16#26, length_prefixed(Key), length_prefixed(Value)] || {Key, Value} <- Pairs];
property_bytes(payload_format, Value) -> <<16#01, Value>>;
property_bytes(message_expiry, Value) -> <<16#02, Value:32>>;
property_bytes(content_type, Value) -> [16#03, length_prefixed(Value)];
property_bytes(response_topic, Value) -> [16#08, length_prefixed(Value)];
property_bytes(correlation_data, Value) -> [16#09, length_prefixed(Value)];
property_bytes(session_expiry, Value) -> <<16#11, Value:32>>;
property_bytes(assigned_client_id, Value) -> [16#12, length_prefixed(Value)];
property_bytes(maximum_qos, Value) -> <<16#24, Value>>;
property_bytes(retain_available, Value) -> <<16#25, Value>>;
property_bytes(maximum_packet_size, Value) -> <<16#27, Value:32>>;
property_bytes(subscription_identifiers_available, Value) -> <<16#29, Value>>;
property_bytes(shared_subscription_available, Value) -> <<16#2A, Value>>.

length_prefixed(Bytes) -> [<<(byte_size(Bytes)):16>>, Bytes].
