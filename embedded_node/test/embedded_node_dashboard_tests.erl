-module(embedded_node_dashboard_tests).
-include("check.hrl").

status_test() ->
    {200, Headers, Body} = answer('GET', <<"/status">>),
    ?assertEqual("text/plain", proplists:get_value("content-type", Headers)),
    ?assertEqual(<<"Node nonode@nohost is started\nemqx is running">>, iolist_to_binary(Body)),
    {200, _, Again} = answer('HEAD', <<"/status?format=text">>),
    ?assertEqual(iolist_to_binary(Body), iolist_to_binary(Again)).

json_status_test() ->
    {200, Headers, Body} = answer('GET', <<"/status?a&format=json">>),
    ?assertEqual("application/json", proplists:get_value("content-type", Headers)),
    [?assertNotEqual(nomatch, string:find(iolist_to_binary(Body), Part))
     || Part <- ["\"node_name\":\"nonode@nohost\"", "\"cluster\":\"emqxcl\"",
                 "\"broker_status\":\"started\"", "\"app_status\":\"running\""]].

page_says_what_it_is_test() ->
    {200, _, Body} = answer('GET', <<"/">>),
    [?assertNotEqual(nomatch, string:find(iolist_to_binary(Body), Part))
     || Part <- ["embedded OTP node", "not EMQX", "no Dashboard"]].

others_test() ->
    ?assertMatch({404, _, _}, answer('GET', <<"/api/v5/nodes">>)),
    ?assertMatch({405, [{"allow", _}], _}, answer('POST', <<"/status">>)),
    ?assertMatch({405, _, _}, answer(<<"BREW">>, <<"/">>)).

over_the_wire_test() ->
    Port = free_port(),
    {ok, Pid} = embedded_node_dashboard:start_link({<<"127.0.0.1">>, Port}, <<"emqxcl">>),
    Get = exchanged(Port, "GET /status HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"),
    ?assertMatch(<<"HTTP/1.1 200 OK\r\n", _/binary>>, Get),
    ?assertNotEqual(nomatch, string:find(Get, "emqx is running")),
    Head = exchanged(Port, "HEAD /status HTTP/1.1\r\n\r\n"),
    ?assertEqual(nomatch, string:find(Head, "emqx is running")),
    ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>, exchanged(Port, "\x16\x03\x01 what\r\n\r\n")),
    ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>,
                 exchanged(Port, ["GET / HTTP/1.1\r\n", lists:duplicate(200, "a: b\r\n"), "\r\n"])),
    unlink(Pid),
    gen_server:stop(Pid).

a_taken_port_is_refused_in_one_sentence_test() ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    _ = process_flag(trap_exit, true),
    {error, {refused, Sentence}} =
        embedded_node_dashboard:start_link({<<"127.0.0.1">>, Port}, <<"emqxcl">>),
    ?assertEqual(iolist_to_binary(["127.0.0.1:", integer_to_list(Port), ": address already in use"]),
                 iolist_to_binary(Sentence)),
    gen_tcp:close(Taken).

answer(Method, Target) ->
    embedded_node_dashboard:answer(Method, Target, <<"emqxcl">>).

exchanged(Port, Request) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, Request),
    received(Socket, <<>>).

received(Socket, Data) ->
    case gen_tcp:recv(Socket, 0, 5_000) of
        {ok, More} -> received(Socket, <<Data/binary, More/binary>>);
        {error, closed} -> Data;
        {error, econnreset} -> Data
    end.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
