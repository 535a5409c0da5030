%% @doc MQTT's rules for one client, without I/O: packets in, packets out.
-module(embedded_node_session).

-export([connect/2, packet/2, deliver/2, publish_will/1, keep_alive/1, refusal/2]).
-export_type([session/0]).

-record(session, {
    version :: embedded_node_frame:version(),
    client_id :: binary(),
    keep_alive :: 0..16#FFFF,
    will :: map() | none,
    receive_maximum :: pos_integer(),
    maximum_packet_size :: pos_integer() | infinity,
    next_id = 1 :: 1..16#FFFF,
    unacknowledged = #{} :: #{1..16#FFFF => true},
    waiting = queue:new() :: queue:queue(map())
}).

-opaque session() :: #session{}.
-type packets() :: [embedded_node_frame:packet()].

%% EMQX's default for max_mqueue_len: more than this waiting for one slow subscriber is lost.
-define(MAX_WAITING, 1000).

-define(SUCCESS, 0).
-define(PROTOCOL_ERROR, 16#82).
-define(BAD_AUTHENTICATION_METHOD, 16#8C).
-define(TAKEN_OVER, 16#8E).
-define(TOPIC_NAME_INVALID, 16#90).
-define(TOPIC_ALIAS_INVALID, 16#94).
-define(RETAIN_NOT_SUPPORTED, 16#9A).
-define(QOS_NOT_SUPPORTED, 16#9B).
-define(SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, 16#9E).
-define(SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, 16#A1).
-define(SUBACK_FAILURE_3_1_1, 16#80).
-define(IDENTIFIER_REJECTED_3_1_1, 2).

%% @doc Answer CONNECT. Session Present is always 0: no session outlives its connection.
-spec connect(map(), pos_integer()) -> {ok, packets(), session()} | {refuse, packets(), atom()}.
connect(#{version := 5, properties := #{auth_method := _}}, _MaxPacket) ->
    {refuse, [{connack, ?BAD_AUTHENTICATION_METHOD, #{}}], auth_method};
connect(#{version := 5, will := #{qos := 2}}, _MaxPacket) ->
    {refuse, [{connack, ?QOS_NOT_SUPPORTED, #{}}], will_qos_2};
connect(#{version := 5, will := #{retain := true}}, _MaxPacket) ->
    {refuse, [{connack, ?RETAIN_NOT_SUPPORTED, #{}}], will_retain};
connect(#{version := 4, client_id := <<>>, clean_start := false}, _MaxPacket) ->
    {refuse, [{connack, ?IDENTIFIER_REJECTED_3_1_1, #{}}], empty_client_id};
connect(#{client_id := <<>>} = Connect, MaxPacket) ->
    Id = <<"auto-", (binary:encode_hex(crypto:strong_rand_bytes(8)))/binary>>,
    accept(Connect#{client_id := Id}, MaxPacket, #{assigned_client_id => Id});
connect(Connect, MaxPacket) ->
    accept(Connect, MaxPacket, #{}).

accept(#{version := Version, client_id := ClientId, keep_alive := KeepAlive, will := Will,
         properties := Properties}, MaxPacket, Extra) ->
    ok = embedded_node_router:client_connected(ClientId),
    Session = #session{
        version = Version, client_id = ClientId, keep_alive = KeepAlive, will = Will,
        receive_maximum = maps:get(receive_maximum, Properties, 16#FFFF),
        maximum_packet_size = maps:get(maximum_packet_size, Properties, infinity)},
    {ok, [{connack, ?SUCCESS, maps:merge(capabilities(MaxPacket), Extra)}], Session}.

%% What this node does not do, it says, with its name, in every MQTT 5 CONNACK.
capabilities(MaxPacket) ->
    #{session_expiry => 0, maximum_qos => 1, retain_available => 0,
      maximum_packet_size => MaxPacket, subscription_identifiers_available => 0,
      shared_subscription_available => 0,
      user_property => embedded_node_identity:properties()}.

%% @doc What a client is told whose bytes the parser refused.
-spec refusal(term(), embedded_node_frame:version() | undefined) ->
    {embedded_node_frame:version(), packets()}.
refusal({unsupported_level, Level}, undefined) when Level > 5 -> {5, [{connack, 16#84, #{}}]};
refusal({unsupported_level, _Level}, undefined) -> {4, [{connack, 1, #{}}]};
refusal(_Reason, undefined) -> {4, []};
refusal(malformed, Version) -> {Version, [{disconnect, 16#81}]};
refusal(packet_too_large, Version) -> {Version, [{disconnect, 16#95}]};
refusal(keep_alive_timeout, Version) -> {Version, [{disconnect, 16#8D}]};
refusal(taken_over, Version) -> {Version, [{disconnect, ?TAKEN_OVER}]};
refusal(_ProtocolError, Version) -> {Version, [{disconnect, ?PROTOCOL_ERROR}]}.

%% @doc Seconds the client promised to be heard within; 0: no promise.
-spec keep_alive(session()) -> 0..16#FFFF.
keep_alive(#session{keep_alive = Seconds}) -> Seconds.

%% @doc Handle a packet of a connected client.
-spec packet(embedded_node_frame:packet(), session()) ->
    {ok, packets(), session()} | {stop, packets(), term(), session()}.
packet(pingreq, Session) ->
    {ok, [pingresp], Session};
packet({publish, Publish}, Session) ->
    publish(Publish, Session);
packet({puback, Id, _Code}, #session{unacknowledged = Open} = Session) ->
    send_waiting(Session#session{unacknowledged = maps:remove(Id, Open)}, []);
packet({subscribe, _Id, #{subscription_identifier := _}, _Filters}, Session) ->
    refuse(?SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, subscription_identifier, Session);
packet({subscribe, Id, _Properties, Filters}, Session) ->
    {ok, [{suback, Id, [subscribe(Filter, Session) || Filter <- Filters]}], Session};
packet({unsubscribe, Id, Filters}, Session) ->
    {ok, [{unsuback, Id, [unsubscribe(Filter) || Filter <- Filters]}], Session};
packet({disconnect, 0}, Session) ->
    {stop, [], normal, Session#session{will = none}};
packet({disconnect, _WithWill}, Session) ->
    {stop, [], normal, Session}.

publish(#{qos := 2}, Session) ->
    refuse(?QOS_NOT_SUPPORTED, qos_2, Session);
publish(#{properties := #{topic_alias := _}}, Session) ->
    refuse(?TOPIC_ALIAS_INVALID, topic_alias, Session);
publish(#{retain := true}, #session{version = 5} = Session) ->
    refuse(?RETAIN_NOT_SUPPORTED, retain, Session);
publish(#{topic := Topic, qos := Qos, id := Id} = Publish, Session) ->
    case embedded_node_topic:is_name(Topic) of
        false -> refuse(?TOPIC_NAME_INVALID, topic_name, Session);
        true ->
            ok = embedded_node_router:publish(
                maps:with([topic, payload, qos, properties], Publish)),
            {ok, [{puback, Id, ?SUCCESS} || Qos =:= 1], Session}
    end.

refuse(Code, Reason, Session) ->
    {stop, [{disconnect, Code}], Reason, Session}.

subscribe({<<"$share/", _/binary>>, _Options}, #session{version = 5}) ->
    ?SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
subscribe({<<"$share/", _/binary>>, _Options}, _Session) ->
    ?SUBACK_FAILURE_3_1_1;
subscribe({Filter, #{qos := Qos, no_local := NoLocal}}, _Session) ->
    Granted = min(Qos, 1),
    ok = embedded_node_router:subscribe(Filter, Granted, NoLocal),
    Granted.

unsubscribe(Filter) ->
    case embedded_node_router:unsubscribe(Filter) of
        true -> ?SUCCESS;
        false -> 16#11
    end.

%% @doc A message for this client, at the QoS granted.
-spec deliver(map(), session()) -> {ok, packets(), session()}.
deliver(#{qos := 0} = Message, Session) ->
    {ok, [Packet || Packet <- [{publish, Message#{id => 0, retain => false}}],
                    fits(Packet, Session)], Session};
deliver(Message, #session{waiting = Waiting, client_id = ClientId} = Session) ->
    case queue:len(Waiting) < ?MAX_WAITING of
        true -> send_waiting(Session#session{waiting = queue:in(Message, Waiting)}, []);
        false ->
            logger:warning("~ts: more than ~b messages unacknowledged, one is lost",
                           [ClientId, ?MAX_WAITING]),
            {ok, [], Session}
    end.

%% Receive Maximum (5.0, 3.1.2.11.3) bounds what is unacknowledged.
send_waiting(#session{unacknowledged = Open, receive_maximum = Max} = Session, Sent)
  when map_size(Open) >= Max ->
    {ok, lists:reverse(Sent), Session};
send_waiting(#session{waiting = Waiting, unacknowledged = Open} = Session, Sent) ->
    case queue:out(Waiting) of
        {empty, _} -> {ok, lists:reverse(Sent), Session};
        {{value, Message}, Rest} ->
            Id = free_id(Session#session.next_id, Open),
            Packet = {publish, Message#{id => Id, retain => false}},
            Next = Session#session{waiting = Rest, next_id = Id rem 16#FFFF + 1},
            case fits(Packet, Session) of
                true -> send_waiting(Next#session{unacknowledged = Open#{Id => true}},
                                     [Packet | Sent]);
                false -> send_waiting(Next, Sent)
            end
    end.

free_id(Id, Open) when is_map_key(Id, Open) -> free_id(Id rem 16#FFFF + 1, Open);
free_id(Id, _Open) -> Id.

%% A packet above the client's Maximum Packet Size is not sent (5.0, 3.1.2.11.4).
fits(_Packet, #session{maximum_packet_size = infinity}) -> true;
fits(Packet, #session{maximum_packet_size = Max, version = Version}) ->
    iolist_size(embedded_node_frame:serialize(Packet, Version)) =< Max.

%% @doc Publish the will, unless DISCONNECT took it back. Its delay does not matter: the
%% session ends with the connection (5.0, 3.1.3.2.2).
-spec publish_will(session()) -> ok.
publish_will(#session{will = none}) -> ok;
publish_will(#session{will = #{qos := Qos} = Will}) ->
    embedded_node_router:publish(
        maps:with([topic, payload, qos, properties], Will#{qos := min(Qos, 1)})).
