-module(embedded_node_client_tests).
-include("check.hrl").

-export([absent_then_present/0, clean_start_deletes/0, expires/0, kept_and_delivered/0,
         taken_over_by_a_new_connection/0, no_session_after_expiry_0/0, fetched_with_what_waits/0,
         newest_of_several_wins/0, silent_other_is_given_up/0, one_of_two_rivals_goes/0,
         rival_that_was_seen/0,
         no_connection_no_session/0, refused_bytes/0, told_after_a_moment/0]).

-define(MAX_PACKET, 1000).

client_test_() ->
    {foreach, fun start/0, fun embedded_node_router_tests:stop/1,
     [fun(_) -> {atom_to_list(Name), {timeout, 60, fun() -> ?MODULE:Name() end}} end
      || {Name, 0} <- proplists:get_value(exports, ?MODULE:module_info()),
         not lists:member(Name, [module_info, test, client_test_])]}.

start() ->
    Router = embedded_node_router_tests:start(),
    {ok, Sessions} = embedded_node_client_sup:start_link(),
    {ok, Clients} = embedded_node_clients:start_link(),
    [Clients, Sessions | Router].

absent_then_present() ->
    One = connection(),
    ?assertEqual(0, connect(One, expiring(60))),
    gone(One),
    Other = connection(),
    ?assertEqual(1, connect(Other, expiring(60))),
    ?assertEqual(1, embedded_node_client_sup:count()).

clean_start_deletes() ->
    One = connection(),
    connect(One, expiring(60)),
    subscribe(One, <<"t">>),
    gone(One),
    Other = connection(),
    ?assertEqual(0, connect(Other, (expiring(60))#{clean_start := true})),
    publish(<<"t">>),
    ?assertEqual([], received(Other)),
    gone(Other),
    ?assertEqual(1, connect(connection(), expiring(60))).

expires() ->
    One = connection(),
    connect(One, expiring(1)),
    gone(One),
    await(fun() -> embedded_node_client_sup:count() =:= 0 end),
    ?assertEqual(0, connect(connection(), expiring(1))).

kept_and_delivered() ->
    One = connection(),
    connect(One, expiring(60)),
    subscribe(One, <<"t">>),
    publish(<<"t">>),
    ?assertMatch([{publish, #{dup := false, id := 1}}], received(One)),
    gone(One),
    publish(<<"t">>),
    Other = connection(),
    ?assertEqual(1, connect(Other, expiring(60))),
    ?assertMatch([{publish, #{dup := true, id := 1}}], received(Other)),
    packets(Other, [{puback, 1, 0}]),
    ?assertMatch([{publish, #{dup := false, id := 2}}], received(Other)).

%% The other nodes hear at once of a session that stays, and of another only if it lasts a moment.
told_after_a_moment() ->
    Told = fun() -> length(pg:get_members(embedded_node, {client, <<"c">>})) end,
    not_told_yet(Told, 50),
    connect(connection(), expiring(0)),
    connect(connection(), expiring(60)),
    ?assertEqual(1, Told()),
    timer:sleep(400),
    ?assertEqual(1, Told()).

%% Where it took us longer to look than the moment lasts, that says nothing, and is tried again.
not_told_yet(Told, Left) when Left > 0 ->
    One = connection(),
    Began = erlang:monotonic_time(millisecond),
    connect(One, expiring(0)),
    Count = Told(),
    Late = erlang:monotonic_time(millisecond) - Began >= 200,
    ?assert(Late orelse Count =:= 0),
    await(fun() -> Told() =:= 1 end),
    gone(One),
    await(fun() -> Told() =:= 0 end),
    Late andalso not_told_yet(Told, Left - 1).

taken_over_by_a_new_connection() ->
    One = connection(),
    connect(One, expiring(60)),
    Other = connection(),
    ?assertEqual(1, connect(Other, expiring(60))),
    ?assertEqual([{disconnect, 16#8E}], received(One)),
    ?assertEqual(stop, last(One)),
    %% What the earlier connection still says counts for nothing.
    packets(One, [{disconnect, 0, #{session_expiry => 0}}]),
    gone(One),
    packets(Other, [pingreq]),
    ?assertEqual([pingresp], received(Other)).

no_session_after_expiry_0() ->
    One = connection(),
    connect(One, expiring(0)),
    %% Its connection ends now, and the session with it.
    ?assertEqual(0, connect(connection(), expiring(60))),
    ?assertEqual([{disconnect, 16#8E}], received(One)).

%% Sessions on another node are processes all the same.
fetched_with_what_waits() ->
    Other = elsewhere([]),
    One = connection(),
    attach(Other, One, expiring(60)),
    session_of(One, Other),
    subscribe(One, <<"t">>),
    gone(One),
    publish(<<"t">>),
    Here = elsewhere([]),
    Two = connection(),
    ?assertEqual(1, attach(Here, Two, expiring(60), [Other])),
    ?assertMatch([{publish, #{id := 1}}], received(Two)),
    await(fun() -> not is_process_alive(Other) end),
    publish(<<"t">>),
    session_of(Two, Here),
    packets(Two, [{puback, 1, 0}]),
    ?assertMatch([{publish, #{id := 2}}], received(Two)).

newest_of_several_wins() ->
    [First, Second] = Others = [begin
        Session = elsewhere([]),
        Connection = connection(),
        attach(Session, Connection, expiring(60)),
        session_of(Connection, Session),
        subscribe(Connection, Filter),
        gone(Connection),
        timer:sleep(5),
        Session
    end || Filter <- [<<"old">>, <<"new">>]],
    publish(<<"old">>),
    publish(<<"new">>),
    Here = elsewhere([]),
    Connection = connection(),
    ?assertEqual(1, attach(Here, Connection, expiring(60), Others)),
    ?assertMatch([{publish, #{topic := <<"new">>}}], received(Connection)),
    publish(<<"old">>),
    ?assertEqual([], received(Connection)),
    await(fun() -> not is_process_alive(First) andalso not is_process_alive(Second) end).

silent_other_is_given_up() ->
    Silent = spawn(fun() -> receive never -> ok end end),
    Here = elsewhere([]),
    Begun = erlang:monotonic_time(millisecond),
    ?assertEqual(0, attach(Here, connection(), expiring(60), [Silent])),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 3000),
    %% When it wakes up, it finds that its session is nobody's.
    ?assertEqual({messages, true},
                 {messages, lists:any(fun({'$gen_cast', discard}) -> true; (_) -> false end,
                                      element(2, process_info(Silent, messages)))}),
    exit(Silent, kill).

one_of_two_rivals_goes() ->
    Session = elsewhere([]),
    Connection = connection(),
    attach(Session, Connection, expiring(60)),
    %% It was seen, and will be fetched.
    Now = erlang:system_time(millisecond),
    embedded_node_client:meet(Session, {Now + 99, on_node(<<"z@z">>)}, [Session]),
    %% Its client came first.
    embedded_node_client:meet(Session, {Now - 9999, on_node(<<"z@z">>)}, []),
    ?assertEqual([], received(Connection)),
    embedded_node_client:meet(Session, {Now + 99, on_node(<<"a@a">>)}, []),
    await(fun() -> not is_process_alive(Session) end),
    ?assertEqual([{disconnect, 16#8E}], received(Connection)).

%% One that it will fetch itself.
rival_that_was_seen() ->
    Rival = on_node(<<"z@z">>),
    Session = elsewhere([Rival]),
    Connection = connection(),
    attach(Session, Connection, (expiring(60))#{clean_start := true}, [Rival]),
    embedded_node_client:meet(Session, {erlang:system_time(millisecond) + 99, Rival}, []),
    ?assertEqual([], received(Connection)),
    ?assert(is_process_alive(Session)).

%% In the external term format, a pid of a node that nobody needs to know.
on_node(Name) ->
    binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, 1:32, 0:32, 1:32>>).

no_connection_no_session() ->
    Session = elsewhere([]),
    Ref = monitor(process, Session),
    ?assertEqual(normal, receive {'DOWN', Ref, process, _, Reason} -> Reason after 8000 -> late end).

refused_bytes() ->
    One = connection(),
    connect(One, (expiring(0))#{clean_start := true}),
    ok = as(One, fun(#{session := Session}) ->
        embedded_node_client:packets(Session, [pingreq], {error, malformed})
    end),
    ?assertEqual([pingresp, {disconnect, 16#81}], received(One)),
    ?assertEqual(stop, last(One)),
    await(fun() -> embedded_node_client_sup:count() =:= 0 end).

%% -- A connection without a socket --------------------------------------------------------------

connection() ->
    spawn(fun() -> connection(#{session => none, packets => [], last => none}) end).

connection(#{packets := Packets} = State) ->
    receive
        {do, From, Ref, Do} ->
            case Do(State) of
                {Answer, #{} = Next} -> From ! {Ref, Answer}, connection(Next);
                Answer -> From ! {Ref, Answer}, connection(State)
            end;
        {send, Sent, Then} -> connection(State#{packets := Packets ++ Sent, last := Then})
    end.

as(Connection, Do) ->
    Ref = make_ref(),
    Connection ! {do, self(), Ref, Do},
    receive {Ref, Answer} -> Answer after 10000 -> erlang:error(no_answer) end.

connect(Connection, Connect) ->
    as(Connection, fun(State) ->
        Session = embedded_node_clients:attach(Connect, ?MAX_PACKET),
        {ok, State#{session := Session}}
    end),
    present(Connection).

attach(Session, Connection, Connect) ->
    attach(Session, Connection, Connect, []).

attach(Session, Connection, Connect, Others) ->
    as(Connection, fun(State) ->
        ok = embedded_node_client:attach(Session, Connect, ?MAX_PACKET, Others),
        {ok, State#{session := Session}}
    end),
    present(Connection).

session_of(Connection, Session) ->
    as(Connection, fun(State) -> {ok, State#{session := Session}} end).

present(Connection) ->
    as(Connection, fun(#{packets := [{connack, Present, 0, _} | Rest]} = State) ->
        {Present, State#{packets := Rest}}
    end).

subscribe(Connection, Filter) ->
    packets(Connection, [{subscribe, 9, #{}, [{Filter, #{qos => 1, no_local => false}}]}]),
    ?assertEqual([{suback, 9, [1]}], received(Connection)).

packets(Connection, Packets) ->
    ok = as(Connection, fun(#{session := Session}) ->
        ok = embedded_node_client:packets(Session, Packets, more),
        _ = sys:get_state(Session),
        ok
    end).

received(Connection) ->
    await(fun() -> as(Connection, fun(#{session := none}) -> true;
                                     (#{session := Session}) -> settled(Session)
                                  end) end),
    as(Connection, fun(#{packets := Packets} = State) -> {Packets, State#{packets := []}} end).

settled(Session) ->
    try sys:get_state(Session) of _ -> true
    catch exit:_ -> true
    end.

last(Connection) ->
    as(Connection, fun(#{last := Last}) -> Last end).

gone(Connection) ->
    Session = as(Connection, fun(#{session := Session}) -> Session end),
    Ref = monitor(process, Connection),
    exit(Connection, kill),
    receive {'DOWN', Ref, process, Connection, _} -> settled(Session) end.

elsewhere(Others) ->
    {ok, Session} = embedded_node_client_sup:start_client(<<"c">>, Others),
    Session.

publish(Topic) ->
    ok = embedded_node_router:publish(#{topic => Topic, payload => <<"p">>, qos => 1,
                                        properties => #{}}).

await(Test) -> await(Test, 1000).

await(Test, Left) when Left > 0 ->
    Test() orelse begin timer:sleep(10), await(Test, Left - 1) end.

expiring(Seconds) ->
    #{version => 5, client_id => <<"c">>, clean_start => false, keep_alive => 60,
      properties => #{session_expiry => Seconds}, assigned => #{}}.
