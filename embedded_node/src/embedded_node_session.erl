%% @doc MQTT's rules for one client, without I/O: packets in, packets out.
%%
%% A session outlives its connection by its Session Expiry Interval. While the client is away it
%% keeps the subscriptions, what is unacknowledged, and messages of QoS 1 that arrive.
-module(embedded_node_session).

-export([outlasts/1, admit/2, open/2, resume/3, packet/2, deliver/2, leave/1, refusal/2]).
-export([expiry/1, version/1, since/1, subscriptions/1]).
-export_type([session/0]).

-record(session, {
    version :: embedded_node_frame:version(),
    client_id :: binary(),
    since :: Milliseconds :: integer(),
    expiry_at_connect :: Seconds :: non_neg_integer(),
    expiry :: Seconds :: non_neg_integer(),
    maximum_packet_size :: pos_integer() | infinity,
    connected = true :: boolean(),
    subscriptions = #{} :: #{binary() => 0..1},
    next_id = 1 :: 1..16#FFFF,
    unacknowledged = none :: {1..16#FFFF, message()} | none,
    waiting = queue:new() :: queue:queue(message()),
    lost = 0 :: non_neg_integer()
}).

-opaque session() :: #session{}.
-type message() :: embedded_node_router:message().
-type packets() :: [embedded_node_frame:packet()].

%% EMQX's default for max_mqueue_len.
-define(MAX_WAITING, 1000).
%% EMQX's default for session_expiry_interval; here also the longest that is granted.
-define(MAX_EXPIRY_S, 7200).

-define(SUCCESS, 0).
-define(NO_SUBSCRIPTION_EXISTED, 16#11).
-define(PROTOCOL_ERROR, 16#82).
-define(NOT_ACCEPTED_BY_THIS_SERVER, 16#83).
-define(BAD_USER_NAME_OR_PASSWORD, 16#86).
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
-define(BAD_USER_NAME_OR_PASSWORD_3_1_1, 4).

%% @doc Whether a client may connect at all. What comes back has a client id and no
%% credentials any more.
-spec admit(embedded_node_frame:connect(), embedded_node_users:users()) ->
    {ok, map()} | {refuse, packets(), atom()}.
admit(#{version := 5, properties := #{auth_method := _}}, _Users) ->
    {refuse, [{connack, 0, ?BAD_AUTHENTICATION_METHOD, #{}}], auth_method};
admit(#{version := 4, client_id := <<>>, clean_start := false}, _Users) ->
    {refuse, [{connack, 0, ?IDENTIFIER_REJECTED_3_1_1, #{}}], empty_client_id};
admit(#{version := Version} = Connect, Users) ->
    case embedded_node_users:may_connect(Connect, Users) of
        true -> {ok, identified(maps:without([username, password], Connect))};
        false -> {refuse, [{connack, 0, bad_credentials(Version), #{}}], bad_user_name_or_password}
    end.

bad_credentials(5) -> ?BAD_USER_NAME_OR_PASSWORD;
bad_credentials(4) -> ?BAD_USER_NAME_OR_PASSWORD_3_1_1.

identified(#{client_id := <<>>} = Connect) ->
    Id = <<"auto-", (binary:encode_hex(crypto:strong_rand_bytes(8)))/binary>>,
    Connect#{client_id := Id, assigned => #{assigned_client_id => Id}};
identified(Connect) ->
    Connect#{assigned => #{}}.

%% @doc Answer an admitted CONNECT with a new session.
-spec open(map(), pos_integer()) -> {ok, packets(), session()}.
open(#{version := Version, client_id := ClientId} = Connect, MaxPacket) ->
    Empty = #session{version = Version, client_id = ClientId, since = 0,
                     expiry_at_connect = 0, expiry = 0,
                     maximum_packet_size = infinity},
    Session = connected(Connect, Empty),
    {ok, [connack(0, Connect, Session, MaxPacket)], Session}.

%% @doc Answer an admitted CONNECT with the session that its client left; messages follow
%% CONNACK at once.
-spec resume(map(), pos_integer(), session()) -> {ok, packets(), session()}.
resume(Connect, MaxPacket, Before) ->
    Session = connected(Connect, Before),
    {ok, Packets, Sent} = send_again(Session),
    {ok, [connack(1, Connect, Session, MaxPacket) | Packets], Sent}.

connected(#{version := Version, properties := Properties} = Connect, Session) ->
    Expiry = min(asked_expiry(Connect), ?MAX_EXPIRY_S),
    Session#session{
        version = Version, since = now_ms(), expiry_at_connect = Expiry, expiry = Expiry,
        connected = true, lost = 0,
        maximum_packet_size = maps:get(maximum_packet_size, Properties, infinity)}.

%% @doc Whether the session that a client asks for is to outlast its connection.
-spec outlasts(map()) -> boolean().
outlasts(Connect) ->
    asked_expiry(Connect) > 0.

%% A session of 3.1.1 ends with its connection or never (3.1.2.4).
asked_expiry(#{version := 4, clean_start := true}) -> 0;
asked_expiry(#{version := 4}) -> ?MAX_EXPIRY_S;
asked_expiry(#{properties := Properties}) -> maps:get(session_expiry, Properties, 0).

%% What this node does not do, it says, with its name, in every MQTT 5 CONNACK.
connack(Present, #{assigned := Assigned} = Connect, Session, MaxPacket) ->
    Capabilities = #{
        maximum_qos => 1, retain_available => 0, maximum_packet_size => MaxPacket,
        subscription_identifiers_available => 0, shared_subscription_available => 0,
        user_property => embedded_node_identity:properties()},
    Granted = granted_expiry(Session#session.expiry, asked_expiry(Connect)),
    {connack, Present, ?SUCCESS, maps:merge(maps:merge(Capabilities, Assigned), Granted)}.

%% Left out, it is what the client asked for (5.0, 3.2.2.3.2).
granted_expiry(Asked, Asked) -> #{};
granted_expiry(Granted, _Asked) -> #{session_expiry => Granted}.

%% @doc What a client is told that is sent away, or whose bytes the parser refused.
-spec refusal(term(), embedded_node_frame:version() | undefined) ->
    {embedded_node_frame:version(), packets()}.
refusal({unsupported_level, Level}, undefined) when Level > 5 -> {5, [{connack, 0, 16#84, #{}}]};
refusal({unsupported_level, _Level}, undefined) -> {4, [{connack, 0, 1, #{}}]};
%% In 3.1.1 no return code says so, and the connection closes without CONNACK (3.2.2.3).
refusal({will, 5}, undefined) -> {5, [{connack, 0, ?NOT_ACCEPTED_BY_THIS_SERVER, #{}}]};
refusal(_Reason, undefined) -> {4, []};
refusal(malformed, Version) -> {Version, [{disconnect, 16#81}]};
refusal(packet_too_large, Version) -> {Version, [{disconnect, 16#95}]};
refusal(keep_alive_timeout, Version) -> {Version, [{disconnect, 16#8D}]};
refusal(taken_over, Version) -> {Version, [{disconnect, ?TAKEN_OVER}]};
refusal(_ProtocolError, Version) -> {Version, [{disconnect, ?PROTOCOL_ERROR}]}.

-spec version(session()) -> embedded_node_frame:version().
version(#session{version = Version}) -> Version.

%% @doc Seconds the session lives on without a connection.
-spec expiry(session()) -> non_neg_integer().
expiry(#session{expiry = Seconds}) -> Seconds.

%% @doc When its client connected last; system time in milliseconds.
-spec since(session()) -> integer().
since(#session{since = Since}) -> Since.

%% @doc The topic filters, each with its QoS.
-spec subscriptions(session()) -> #{binary() => 0..1}.
subscriptions(#session{subscriptions = Subscriptions}) -> Subscriptions.

%% @doc Handle a packet of a connected client.
-spec packet(embedded_node_frame:packet(), session()) ->
    {ok, packets(), session()} | {stop, packets(), term(), session()}.
packet(pingreq, Session) ->
    {ok, [pingresp], Session};
packet({publish, Publish}, Session) ->
    publish(Publish, Session);
packet({puback, Id, _Code}, #session{unacknowledged = {Id, _Message}} = Session) ->
    send_waiting(Session#session{unacknowledged = none});
packet({puback, _Other, _Code}, Session) ->
    {ok, [], Session};
packet({subscribe, _Id, #{subscription_identifier := _}, _Filters}, Session) ->
    refuse(?SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, subscription_identifier, Session);
%% Not with lists:mapfoldl/3: the compiler of OTP 27.3.4 returns its result as it is when the
%% codes are constants, and drops what comes after it.
packet({subscribe, Id, _Properties, Filters}, Session) ->
    Granted = [{Filter, suback_code(Filter, Session)} || Filter <- Filters],
    {ok, [{suback, Id, [Code || {_Filter, Code} <- Granted]}],
     lists:foldl(fun subscribe/2, Session, Granted)};
packet({unsubscribe, Id, Filters}, Session) ->
    Codes = [unsuback_code(Filter, Session) || Filter <- Filters],
    {ok, [{unsuback, Id, Codes}], lists:foldl(fun unsubscribe/2, Session, Filters)};
packet({disconnect, _Code, Properties}, Session) ->
    disconnect(Properties, Session).

publish(#{qos := 2}, Session) ->
    refuse(?QOS_NOT_SUPPORTED, qos_2, Session);
publish(#{properties := #{topic_alias := _}}, Session) ->
    refuse(?TOPIC_ALIAS_INVALID, topic_alias, Session);
publish(#{retain := true}, #session{version = 5} = Session) ->
    refuse(?RETAIN_NOT_SUPPORTED, retain, Session);
%% It may have to wait for a subscriber, and would have to be deleted in time (5.0, 3.3.2.3.3). Of
%% QoS 0 none waits.
publish(#{qos := 1, id := Id, properties := #{message_expiry := _}}, Session) ->
    {ok, [{puback, Id, ?NOT_ACCEPTED_BY_THIS_SERVER}], Session};
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

suback_code({<<"$share/", _/binary>>, _Options}, #session{version = 5}) ->
    ?SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
suback_code({<<"$share/", _/binary>>, _Options}, _Session) -> ?SUBACK_FAILURE_3_1_1;
suback_code({_Filter, #{no_local := true}}, _Session) -> ?NOT_ACCEPTED_BY_THIS_SERVER;
suback_code({_Filter, #{qos := Qos}}, _Session) -> min(Qos, 1).

subscribe({{Filter, _Options}, Granted},
          #session{subscriptions = Subscriptions} = Session) when Granted =< 1 ->
    ok = embedded_node_router:subscribe(Filter, Granted),
    Session#session{subscriptions = Subscriptions#{Filter => Granted}};
subscribe({_Filter, _Failure}, Session) ->
    Session.

unsuback_code(Filter, #session{subscriptions = Subscriptions})
  when is_map_key(Filter, Subscriptions) -> ?SUCCESS;
unsuback_code(_Filter, _Session) -> ?NO_SUBSCRIPTION_EXISTED.

unsubscribe(Filter, #session{subscriptions = Subscriptions} = Session) ->
    ok = embedded_node_router:unsubscribe(Filter),
    Session#session{subscriptions = maps:remove(Filter, Subscriptions)}.

%% What was 0 at CONNECT stays 0 (5.0, 3.14.2.2.2).
disconnect(#{session_expiry := Expiry}, #session{expiry_at_connect = 0} = Session)
  when Expiry > 0 ->
    refuse(?PROTOCOL_ERROR, session_expiry, Session);
disconnect(#{session_expiry := Expiry}, Session) ->
    {stop, [], normal, Session#session{expiry = min(Expiry, ?MAX_EXPIRY_S)}};
disconnect(_Properties, Session) ->
    {stop, [], normal, Session}.

%% @doc The connection is gone. Tells what of the session stays.
-spec leave(session()) -> session() | none.
leave(#session{expiry = 0}) -> none;
leave(Session) -> Session#session{connected = false}.

%% @doc A message for this client, at the QoS granted. One that is away gets those of QoS 1
%% when it is back.
-spec deliver(message(), session()) -> {ok, packets(), session()}.
deliver(#{qos := 0}, #session{connected = false} = Session) ->
    {ok, [], Session};
deliver(#{qos := 0} = Message, Session) ->
    Packet = publication(Message, 0, false),
    {ok, [Packet || fits(Packet, Session)], Session};
deliver(Message, Session) ->
    case enqueued(Message, Session) of
        #session{connected = false} = Away -> {ok, [], Away};
        Connected -> send_waiting(Connected)
    end.

enqueued(Message, #session{waiting = Waiting} = Session) ->
    case queue:len(Waiting) < ?MAX_WAITING of
        true -> Session#session{waiting = queue:in(Message, Waiting)};
        false -> one_lost(Session#session{waiting = queue:in(Message, queue:drop(Waiting))})
    end.

%% One line for the first and for each further thousand: a fast publisher fills no disk.
one_lost(#session{lost = Lost, client_id = ClientId} = Session) ->
    Lost rem ?MAX_WAITING =:= 0 andalso
        logger:warning("~ts: ~b messages wait already, the oldest is lost (the ~b. since its "
                       "client connected)", [ClientId, ?MAX_WAITING, Lost + 1]),
    Session#session{lost = Lost + 1}.

%% What was sent before comes first, under its id (4.4).
send_again(#session{unacknowledged = {Id, Message}} = Session) ->
    send(Id, true, Message, Session#session{unacknowledged = none});
send_again(Session) ->
    send_waiting(Session).

%% One at a time: no Receive Maximum is below that (5.0, 3.1.2.11.3), and nothing overtakes (4.6).
send_waiting(#session{unacknowledged = none, waiting = Waiting, next_id = Id} = Session) ->
    case queue:out(Waiting) of
        {empty, _} -> {ok, [], Session};
        {{value, Message}, Rest} ->
            send(Id, false, Message,
                 Session#session{waiting = Rest, next_id = Id rem 16#FFFF + 1})
    end;
send_waiting(Session) ->
    {ok, [], Session}.

send(Id, Dup, Message, Session) ->
    Packet = publication(Message, Id, Dup),
    case fits(Packet, Session) of
        true -> {ok, [Packet], Session#session{unacknowledged = {Id, Message}}};
        false -> send_waiting(Session)
    end.

publication(Message, Id, Dup) ->
    {publish, Message#{id => Id, dup => Dup, retain => false}}.

%% A packet above the client's Maximum Packet Size is not sent (5.0, 3.1.2.11.4).
fits(_Packet, #session{maximum_packet_size = infinity}) -> true;
fits(Packet, #session{maximum_packet_size = Max, version = Version}) ->
    iolist_size(embedded_node_frame:serialize(Packet, Version)) =< Max.

now_ms() ->
    erlang:system_time(millisecond).
