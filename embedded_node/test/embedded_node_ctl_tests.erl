-module(embedded_node_ctl_tests).
-include("check.hrl").

-define(SSL, #{name => <<"default">>, type => ssl, bind => {<<"0.0.0.0">>, 8883}, acceptors => 16,
               max_connections => infinity, proxy_protocol => false,
               proxy_protocol_timeout => 3_000, ssl_options => #{}}).

%% Formats are EMQX 5.8's, word for word and column for column.
answers_test_() ->
    {setup, fun start/0, fun stop/1,
     [{"status", fun status/0}, {"cluster", fun cluster/0}, {"broker", fun broker/0},
      {"listeners", fun listeners/0}, {"eval", fun evaluate/0},
      {"unknown commands", fun unknown/0}]}.

status() ->
    %% eunit runs while Erlang is starting.
    ?assertMatch({match, _}, re:run(said(["ctl", "status"]),
                                    "^Node nonode@nohost 0\\.1\\.0 is start(ing|ed)\n$")).

cluster() ->
    About = #{listeners => [], seeds => ['emqx@b.example', nonode@nohost, 'emqx@a.example']},
    {ok, Text} = embedded_node_ctl:run(["ctl", "cluster", "status"], About),
    %% From OTP 26 on a map's keys have no order of their own: EMQX's answer has none either.
    {ok, Tokens, _} = erl_scan:string(
        lists:flatten(string:replace(Text, "Cluster status: ", "")) ++ "."),
    ?assertEqual({ok, #{running_nodes => [nonode@nohost],
                        stopped_nodes => ['emqx@a.example', 'emqx@b.example']}},
                 erl_parse:parse_term(Tokens)),
    %% ~p goes on under the first key.
    ?assertNotEqual(nomatch, string:find(Text, "],\n                  ")),
    {ok, Json} = embedded_node_ctl:run(["ctl", "cluster", "status", "--json"], About),
    ?assertEqual(<<"{\"running_nodes\":[\"nonode@nohost\"],"
                   "\"stopped_nodes\":[\"emqx@a.example\",\"emqx@b.example\"]}\n">>,
                 iolist_to_binary(Json)).

broker() ->
    [Description, Version, DateTime, Uptime] =
        string:split(string:trim(said(["ctl", "broker"])), "\n", all),
    ?assertEqual("sysdescr  : embedded OTP node (not EMQX)", Description),
    ?assertEqual("version   : 0.1.0", Version),
    ?assertMatch({match, _}, re:run(DateTime, "^datetime  : \\d{4}-\\d\\d-\\d\\dT[0-9:.]+[+-]")),
    ?assertMatch({match, _}, re:run(Uptime, "^uptime    :( (\\d+ \\w+, )*\\d+ seconds)?$")).

%% The one listener of this test has no socket: that is what it must say.
listeners() ->
    {ok, Text} = embedded_node_ctl:run(["ctl", "listeners"], #{listeners => [?SSL], seeds => []}),
    ?assertEqual("ssl:default\n"
                 "  listen_on       : 0.0.0.0:8883\n"
                 "  acceptors       : 16\n"
                 "  proxy_protocol  : false\n"
                 "  running         : false\n"
                 "  max_conns       : infinity\n", lists:flatten(Text)),
    {ok, Proxied} = embedded_node_ctl:run(
        ["ctl", "listeners"],
        #{listeners => [maps:update(proxy_protocol, true, ?SSL)], seeds => []}),
    ?assertNotEqual(nomatch, string:find(Proxied, "  proxy_protocol  : true\n")).

evaluate() ->
    ?assertEqual("3\n", said(["eval", "1 + 2"])),
    ?assertEqual("\"a b\"\n", said(["eval", "lists:append(\"a\",", "\" b\")."])),
    ?assertEqual("{x,2}\n", said(["eval", "X = 2, {x, X}. "])),
    ?assertEqual("\"" ++ erlang:system_info(otp_release) ++ "\"\n",
                 said(["eval", "erlang:system_info(otp_release)"])),
    ?assertMatch({error, _}, run(["eval", "1 +"])),
    ?assertMatch({error, _}, run(["eval", "'"])),
    {error, Why} = run(["eval", "exit(gone)"]),
    ?assertEqual("the expression ended with exit: gone\n", lists:flatten(Why)).

unknown() ->
    {error, Sentence} = run(["ctl", "clients", "list"]),
    ?assertEqual("unknown command \"clients list\"; there are: ctl status, ctl broker, "
                 "ctl cluster status [--json], ctl listeners\n", lists:flatten(Sentence)),
    ?assertMatch({error, _}, run(["ctl"])),
    ?assertMatch({error, _}, run(["eval"])),
    ?assertMatch({error, _}, run([])),
    ?assertEqual("pong\n", said(["ping"])).

socket_test_() ->
    {setup, fun start/0, fun stop/1, fun() ->
        in_a_folder(fun() ->
            {ok, Pid} = embedded_node_ctl:start_link([], []),
            ?assertEqual(8#600, mode("ctl.sock") band 8#777),
            ?assertEqual(<<0, "pong\n">>, asked(<<"ping", 0>>)),
            ?assertEqual(<<0, "\"", 16#c3, 16#a9, "\"\n">>,
                         asked(<<"eval", 0, "[233]"/utf8, 0>>)),
            ?assertMatch(<<1, "unknown command", _/binary>>, asked(<<"ctl", 0, "x", 0>>)),
            unlink(Pid),
            gen_server:stop(Pid),
            ?assertEqual(false, filelib:is_file("ctl.sock"))
        end)
    end}.

run(Words) -> embedded_node_ctl:run(Words, #{listeners => [], seeds => []}).

said(Words) ->
    {ok, Text} = run(Words),
    lists:flatten(Text).

asked(Request) ->
    {ok, Socket} = gen_tcp:connect({local, "ctl.sock"}, 0,
                                   [binary, {active, false}, {packet, 4}]),
    ok = gen_tcp:send(Socket, Request),
    {ok, Answer} = gen_tcp:recv(Socket, 0, 5_000),
    ok = gen_tcp:close(Socket),
    Answer.

mode(File) ->
    {ok, Info} = file:read_file_info(File),
    element(8, Info).

in_a_folder(Use) ->
    {ok, Before} = file:get_cwd(),
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "embedded_node_ctl_" ++ os:getpid()),
    ok = file:make_dir(Folder),
    ok = file:set_cwd(Folder),
    try Use() after ok = file:set_cwd(Before), ok = file:del_dir_r(Folder) end.

start() ->
    ok = application:load(embedded_node),
    {ok, Scope} = pg:start_link(embedded_node),
    {ok, Router} = embedded_node_router:start_link(),
    [Router, Scope].

stop(Pids) ->
    [begin unlink(Pid), gen_server:stop(Pid) end || Pid <- Pids],
    application:unload(embedded_node).
