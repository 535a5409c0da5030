%% @doc One client's session, whether the client is connected or away.
%%
%% It stays where its client connected last. Whoever opens it on another node fetches it in two
%% steps: first the subscriptions, then, subscribed itself, the rest; so nothing is missed.
-module(embedded_node_client).
-behaviour(gen_server).

-export([start_link/2, attach/4, packets/3, discard/1, meet/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    client_id :: binary(),
    others :: [pid()],
    session = none :: embedded_node_session:session() | none,
    connection = none :: {pid(), Monitor :: reference()} | none,
    timers = #{} :: #{ended | rivals => reference()}
}).

%% As for embedded_node_clients.
-define(FETCH_MS, 2_000).
%% By then pg has told every node of every session.
-define(RIVALS_MS, 1_000).
%% A connection that dies before it attaches leaves nothing else behind.
-define(NEVER_ATTACHED_MS, 5_000).

%% @doc `Others' are this client id's sessions on other nodes.
-spec start_link(binary(), [pid()]) -> {ok, pid()}.
start_link(ClientId, Others) ->
    gen_server:start_link(?MODULE, {ClientId, Others}, []).

%% @doc Make the calling process the session's connection. It is sent
%% `{send, Packets, quiet | more | stop}': `more' asks for the client's next packets.
-spec attach(pid(), map(), pos_integer(), [pid()]) -> ok.
attach(Session, Connect, MaxPacket, Others) ->
    gen_server:call(Session, {attach, Connect, MaxPacket, Others}, infinity).

%% @doc What the client sent, and whether the bytes after it could not be read.
-spec packets(pid(), [embedded_node_frame:packet()], more | {error, term()}) -> ok.
packets(Session, Packets, End) ->
    gen_server:cast(Session, {packets, self(), Packets, End}).

%% @doc End the session; its client has another one, or wants none.
-spec discard(pid()) -> ok.
discard(Session) ->
    gen_server:cast(Session, discard).

%% @doc Another node has a session of the same client id, whose client connected at this time
%% (system time in milliseconds) and which knew of `Seen'.
-spec meet(pid(), {integer(), pid()}, [pid()]) -> ok.
meet(Session, Rival, Seen) ->
    gen_server:cast(Session, {meet, Rival, Seen}).

init({ClientId, Others}) ->
    {ok, timer(ended, ?NEVER_ATTACHED_MS, #state{client_id = ClientId, others = Others})}.

handle_call({attach, Connect, MaxPacket, Others}, {Connection, _Tag}, Before) ->
    State = timer(rivals, ?RIVALS_MS, without_timers(send_away(Before#state{others = Others}))),
    {ok, Packets, Session} = begun(Connect, MaxPacket, State),
    send(Connection, Packets, quiet),
    Monitor = erlang:monitor(process, Connection),
    {reply, ok, State#state{session = Session, connection = {Connection, Monitor}}};
handle_call(subscriptions, _From, #state{session = none} = State) ->
    {reply, none, State};
handle_call(subscriptions, _From, #state{session = Session} = State) ->
    case embedded_node_session:expiry(Session) of
        0 -> {stop, normal, none, send_away(State)};
        _ -> {reply, {embedded_node_session:since(Session),
                      embedded_node_session:subscriptions(Session)}, State}
    end;
handle_call(hand_over, _From, State) ->
    #state{session = Session} = Left = send_away(State),
    {stop, normal, with_delivered(Session), Left}.

handle_cast({packets, Connection, Packets, End},
            #state{connection = {Connection, _Monitor}, session = Session} = State) ->
    case answers(Packets, End, Session, []) of
        {ok, Answers, Next} ->
            send(Connection, Answers, more),
            {noreply, State#state{session = Next}};
        {stop, Answers, Reason, Last} ->
            logger:info("closed: ~0p", [Reason]),
            stay(left(Answers, State#state{session = Last}))
    end;
handle_cast(discard, State) ->
    end_session(send_away(State));
%% Whoever saw the other fetches its session. If neither did, because their clients connected at
%% the same time, the earlier one must go.
handle_cast({meet, {Since, Rival}, Seen}, #state{session = Session, others = Others} = State)
  when Session =/= none ->
    SawEachOther = lists:member(self(), Seen) orelse lists:member(Rival, Others),
    Mine = {embedded_node_session:since(Session), node()},
    case not SawEachOther andalso {Since, node(Rival)} > Mine of
        true -> end_session(send_away(State));
        false -> {noreply, State}
    end;
handle_cast(_FromAnEarlierConnection, State) ->
    {noreply, State}.

handle_info({deliver, _Message}, #state{session = none} = State) ->
    {noreply, State};
handle_info({deliver, Message}, #state{session = Session, connection = Connection} = State) ->
    {ok, Packets, Next} = embedded_node_session:deliver(Message, Session),
    [send(Pid, Packets, quiet) || {Pid, _Monitor} <- [Connection], Packets =/= []],
    {noreply, State#state{session = Next}};
handle_info({'DOWN', Monitor, process, _Pid, _Reason}, #state{connection = {_, Monitor}} = State) ->
    stay(over(State));
handle_info({timeout, Timer, ended}, #state{timers = #{ended := Timer}} = State) ->
    end_session(State);
handle_info({timeout, Timer, rivals},
            #state{timers = #{rivals := Timer}, session = Session} = State) ->
    #state{client_id = ClientId, others = Others} = State,
    Me = {embedded_node_session:since(Session), self()},
    [meet(Rival, Me, Others) || Rival <- embedded_node_clients:elsewhere(ClientId) -- Others],
    {noreply, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% -- The session's beginning ------------------------------------------------------------------

begun(#{clean_start := true} = Connect, MaxPacket, #state{others = Others} = State) ->
    [discard(Other) || Other <- Others],
    _ = forgotten(State),
    embedded_node_session:open(Connect, MaxPacket);
begun(Connect, MaxPacket, #state{session = Own, others = Others}) ->
    case lists:foldl(fun newest/2, Own, Others) of
        none -> embedded_node_session:open(Connect, MaxPacket);
        Session -> embedded_node_session:resume(Connect, MaxPacket, Session)
    end.

%% There may be several after nodes were parted: the one connected last is the client's.
newest(Other, Own) ->
    case ask(Other, subscriptions) of
        {Since, Subscriptions} -> newest(Other, Since, Subscriptions, Own);
        none -> discarded(Other, Own)
    end.

newest(Other, Since, Subscriptions, Own) ->
    case Own =:= none orelse embedded_node_session:since(Own) < Since of
        true ->
            ok = unsubscribe(Own),
            ok = subscribe(Subscriptions),
            fetched(ask(Other, hand_over), Other, Subscriptions);
        false -> discarded(Other, Own)
    end.

fetched(none, Other, Subscriptions) ->
    ok = unsubscribe(Subscriptions),
    discarded(Other, none);
fetched(Session, _Other, _Subscriptions) ->
    Session.

discarded(Other, Kept) ->
    ok = discard(Other),
    Kept.

ask(Other, Question) ->
    try gen_server:call(Other, Question, ?FETCH_MS)
    catch exit:{_GoneOrSilent, _Call} -> none
    end.

subscribe(Subscriptions) ->
    maps:foreach(fun(Filter, Qos) -> ok = embedded_node_router:subscribe(Filter, Qos) end,
                 Subscriptions).

unsubscribe(none) -> ok;
unsubscribe(Subscriptions) when is_map(Subscriptions) ->
    maps:foreach(fun(Filter, _Qos) -> ok = embedded_node_router:unsubscribe(Filter) end,
                 Subscriptions);
unsubscribe(Session) ->
    unsubscribe(embedded_node_session:subscriptions(Session)).

%% -- The connection's end ---------------------------------------------------------------------

%% Another connection wants the session, or nobody any more.
send_away(#state{connection = none} = State) ->
    State;
send_away(#state{session = Session} = State) ->
    {_Version, Packets} =
        embedded_node_session:refusal(taken_over, embedded_node_session:version(Session)),
    left(Packets, State).

left(LastPackets, #state{connection = {Connection, Monitor}} = State) ->
    true = erlang:demonitor(Monitor, [flush]),
    send(Connection, LastPackets, stop),
    over(State).

over(#state{session = Session} = State) ->
    Kept = embedded_node_session:leave(Session),
    Kept =:= none andalso unsubscribe(Session),
    awaiting_end(State#state{connection = none, session = Kept}).

awaiting_end(#state{session = none} = State) ->
    State;
awaiting_end(#state{session = Session} = State) ->
    timer(ended, embedded_node_session:expiry(Session) * 1000, State).

%% What arrived while the other node subscribed goes with the session.
with_delivered(none) -> none;
with_delivered(Session) ->
    receive
        {deliver, Message} ->
            {ok, _None, Next} = embedded_node_session:deliver(Message, Session),
            with_delivered(Next)
    after 0 -> Session
    end.

stay(#state{session = none} = State) -> {stop, normal, State};
stay(State) -> {noreply, State, hibernate}.

%% -- The session's end ------------------------------------------------------------------------

end_session(State) ->
    {stop, normal, forgotten(State)}.

forgotten(#state{session = none} = State) ->
    State;
forgotten(#state{session = Session} = State) ->
    ok = unsubscribe(Session),
    State#state{session = none}.

%% -- Helpers ----------------------------------------------------------------------------------

answers([], more, Session, Answers) ->
    {ok, lists:append(lists:reverse(Answers)), Session};
answers([], {error, Reason}, Session, Answers) ->
    {_Version, Packets} =
        embedded_node_session:refusal(Reason, embedded_node_session:version(Session)),
    {stop, lists:append(lists:reverse([Packets | Answers])), Reason, Session};
answers([Packet | Rest], End, Session, Answers) ->
    case embedded_node_session:packet(Packet, Session) of
        {ok, Packets, Next} -> answers(Rest, End, Next, [Packets | Answers]);
        {stop, Packets, Reason, Last} ->
            {stop, lists:append(lists:reverse([Packets | Answers])), Reason, Last}
    end.

send(Connection, Packets, Then) ->
    Connection ! {send, Packets, Then},
    ok.

timer(Name, Milliseconds, #state{timers = Timers} = State) ->
    State#state{timers = Timers#{Name => erlang:start_timer(Milliseconds, self(), Name)}}.

without_timers(#state{timers = Timers} = State) ->
    _ = [erlang:cancel_timer(Timer) || Timer <- maps:values(Timers)],
    State#state{timers = #{}}.
