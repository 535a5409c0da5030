-module(embedded_node_proxy_tests).
-include("check.hrl").

-define(SIGNATURE, 13, 10, 13, 10, 0, 13, 10, "QUIT", 10).
-define(TIMEOUT_MS, 200).
%% What is there is read at once; this is for a busy machine.
-define(PATIENCE_MS, 10_000).

version_1_test_() ->
    [?_assertEqual({{ok, {{192, 0, 2, 7}, 40_000}}, <<"hello">>},
                   read(<<"PROXY TCP4 192.0.2.7 192.0.2.1 40000 8883\r\nhello">>)),
     ?_assertEqual({{ok, {{16#2001, 16#db8, 0, 0, 0, 0, 0, 7}, 1}}, <<22, 3, 1>>},
                   read(<<"PROXY TCP6 2001:db8::7 ::1 1 8883\r\n", 22, 3, 1>>)),
     ?_assertEqual({{ok, local}, <<"x">>}, read(<<"PROXY UNKNOWN\r\nx">>)),
     ?_assertEqual({{ok, local}, <<"x">>},
                   read(<<"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nx">>))].

%% Line feeds behind a header of version 2 are the client's own.
version_2_test_() ->
    [?_assertEqual({{ok, {{192, 0, 2, 7}, 40_000}}, <<"he\nllo">>},
                   read([v2(1, 1, inet()), "he\nllo"])),
     ?_assertEqual({{ok, {{16#2001, 16#db8, 0, 0, 0, 0, 0, 7}, 443}}, <<"x">>},
                   read([v2(1, 2, inet6()), "x"])),
     {"what comes behind the addresses is skipped",
      ?_assertEqual({{ok, {{192, 0, 2, 7}, 40_000}}, <<"x">>},
                    read([v2(1, 1, [inet(), 3, 0, 4, "\n\n\n\n"]), "x"]))},
     {"a connection of the load balancer's own",
      ?_assertEqual({{ok, local}, <<"x">>}, read([v2(0, 0, ""), "x"]))},
     {"a line feed in the address",
      ?_assertEqual({{ok, {{10, 10, 10, 10}, 2570}}, <<"x">>},
                    read([v2(1, 1, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]), "x"]))}].

in_pieces_test() ->
    {Here, There} = pair(),
    Header = iolist_to_binary(v2(1, 1, inet())),
    spawn_link(fun() -> [begin ok = gen_tcp:send(Here, [Byte]), timer:sleep(2) end
                         || <<Byte>> <= Header]
               end),
    ?assertEqual({ok, {{192, 0, 2, 7}, 40_000}}, embedded_node_proxy:read(There, ?PATIENCE_MS)),
    close(Here, There).

refused_test_() ->
    [{Sent, ?_assertMatch({_, true}, {Sent, is_invalid(Sent)})}
     || Sent <- [<<"GET / HTTP/1.1\r\n">>, <<"\n">>, <<"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n">>,
                 <<"PROXY TCP4 192.0.2.7 192.0.2.1 65536 8883\r\n">>,
                 <<"PROXY TCP4 192.0.2.7 192.0.2.1 -1 8883\r\n">>,
                 <<"PROXY TCP4 192.0.2.7 192.0.2.1 1x 8883\r\n">>,
                 <<"PROXY TCP4 2001:db8::7 ::1 1 8883\r\n">>,
                 <<"PROXY TCP6 192.0.2.7 192.0.2.1 1 8883\r\n">>,
                 <<"PROXY TCP5 192.0.2.7 192.0.2.1 1 8883\r\n">>,
                 <<"PROXY TCP4 192.0.2.7 1\r\n">>, <<"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n">>]].

unsupported_test_() ->
    [?_assertMatch({{error, _}, _}, read(v2(1, 3, lists:duplicate(216, 0)))),
     ?_assertMatch({{error, _}, _}, read(v2(2, 1, inet()))),
     {"an address cut short", ?_assertMatch({{error, _}, _}, read(v2(1, 1, "short")))}].

%% A ClientHello without a line feed, and a client that waits for the server's first word.
timed_out_test_() ->
    [?_assertEqual("timed out while it waited for a PROXY protocol header", sentence(Sent))
     || Sent <- [<<>>, <<22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3>>, <<"PROXY TCP4 192.0.2.7">>,
                 <<13, 10, 13, 10, 0>>, <<?SIGNATURE, 16#21, 16#11, 0, 12, 1, 2, 3>>]].

left_test() ->
    {Here, There} = pair(),
    ok = gen_tcp:close(Here),
    ?assertMatch({error, "was left" ++ _}, embedded_node_proxy:read(There, ?PATIENCE_MS)),
    ok = gen_tcp:close(There).

%% Through a listener: a client behind a header is served, and known by what the header says.
a_listener_knows_whom_the_header_names_test_() ->
    {timeout, 60, fun a_listener_knows_whom_the_header_names/0}.

a_listener_knows_whom_the_header_names() ->
    Listener = #{name => <<"proxied">>, type => ssl, bind => {<<"127.0.0.1">>, 0}, acceptors => 1,
                 max_connections => infinity, proxy_protocol => true,
                 proxy_protocol_timeout => 2_000,
                 ssl_options => #{versions => ['tlsv1.2'], handshake_timeout => 60_000}},
    ok = embedded_node_stats:new(),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Supervisor} = embedded_node_listener_sup:start_link(
        Listener, #{connect_timeout => 5_000, max_packet_size => 1_000, users => none}),
    {ok, Port} = inet:port(embedded_node_listener:socket(Listener)),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Client, v2(1, 1, inet())),
    ok = await(fun() -> embedded_node_connection_sup:peers(Listener) =:= [<<"192.0.2.7:40000">>] end),
    {ok, V6} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(V6, v2(1, 2, inet6())),
    ok = await(fun() -> lists:sort(embedded_node_connection_sup:peers(Listener)) =:=
                            [<<"192.0.2.7:40000">>, <<"[2001:db8::7]:443">>] end),
    %% Without a header nothing is said, and the connection ends at the timeout.
    {ok, Direct} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ?assertEqual({error, closed}, gen_tcp:recv(Direct, 0, 20_000)),
    [ok = gen_tcp:close(Socket) || Socket <- [Client, V6, Direct]],
    unlink(Supervisor),
    gen_server:stop(Supervisor).

await(Condition) -> await(Condition, 1000).

await(Condition, Tries) when Tries > 0 ->
    case Condition() of
        true -> ok;
        false -> timer:sleep(10), await(Condition, Tries - 1)
    end.

%% What the reader says of these bytes, and what it leaves behind them.
read(Bytes) -> read(Bytes, ?PATIENCE_MS).

read(Bytes, TimeoutMs) ->
    {Here, There} = pair(),
    ok = gen_tcp:send(Here, Bytes),
    Answer = embedded_node_proxy:read(There, TimeoutMs),
    Rest = gen_tcp:recv(There, 0, 0),
    close(Here, There),
    {Answer, case Rest of {ok, Left} -> Left; {error, _} -> none end}.

is_invalid(Bytes) ->
    {{error, Sentence}, _} = read(Bytes),
    string:prefix(iolist_to_binary(Sentence), "got no valid PROXY protocol header") =/= nomatch.

sentence(Bytes) ->
    {{error, Sentence}, _} = read(Bytes, ?TIMEOUT_MS),
    Sentence.

v2(Command, Family, Body) ->
    Length = iolist_size(Body),
    [<<?SIGNATURE, 2:4, Command:4, Family:4, (min(Family, 1)):4, Length:16>>, Body].

inet() -> <<192, 0, 2, 7, 192, 0, 2, 1, 40_000:16, 8883:16>>.

inet6() -> <<16#2001:16, 16#db8:16, 0:80, 7:16, 0:112, 1:16, 443:16, 8883:16>>.

pair() ->
    {ok, Listening} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Listening),
    {ok, Here} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    {ok, There} = gen_tcp:accept(Listening),
    ok = gen_tcp:close(Listening),
    {Here, There}.

close(Here, There) ->
    ok = gen_tcp:close(Here),
    ok = gen_tcp:close(There).
