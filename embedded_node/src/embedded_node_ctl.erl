%% @doc What `emqx ctl' and its like answer in a container, in the words and columns of EMQX's own
%% command, so that whoever drives containers need not ask which image they run.
%%
%% One request a connection on ./ctl.sock: the arguments, each with a zero byte behind it. The
%% answer is the exit status, one byte, and the text. A frame of four bytes' length goes before
%% both.
-module(embedded_node_ctl).

-export([start_link/2, run/2]).

-define(LONGEST_REQUEST, 65_536).
-define(REQUEST_TIMEOUT_MS, 5_000).

-type answer() :: {ok | error, unicode:chardata()}.
-type about() :: #{listeners := [embedded_node_config:listener()], seeds := [node()]}.

-spec start_link([embedded_node_config:listener()], [node()]) -> gen_server:start_ret().
start_link(Listeners, Seeds) ->
    About = #{listeners => Listeners, seeds => Seeds},
    embedded_node_server:start_link(
        ?MODULE, {local, "ctl.sock", [{packet, 4}, {packet_size, ?LONGEST_REQUEST}]},
        fun(Socket) -> serve(Socket, About) end).

serve(Socket, About) ->
    case gen_tcp:recv(Socket, 0, ?REQUEST_TIMEOUT_MS) of
        {ok, Request} ->
            {Status, Text} = run(arguments(Request), About),
            _ = gen_tcp:send(Socket, [exit_status(Status), encoded(Text)]);
        {error, _Reason} -> ok
    end,
    gen_tcp:close(Socket).

arguments(Request) ->
    [unicode:characters_to_list(Argument) || Argument <- binary:split(Request, <<0>>, [global]),
                                             Argument =/= <<>>].

exit_status(ok) -> 0;
exit_status(error) -> 1.

encoded(Text) ->
    unicode:characters_to_binary(Text).

%% @doc Answer one command; the first word is `ctl', `eval' or `ping'.
-spec run([string()], about()) -> answer().
run(["ping"], _About) ->
    {ok, "pong\n"};
run(["eval" | [_ | _] = Words], _About) ->
    eval(lists:flatten(lists:join($\s, Words)));
run(["ctl", "status"], _About) ->
    {Status, _Provided} = init:get_status(),
    {ok, io_lib:format("Node ~p ~ts is ~p~n", [node(), version(), Status])};
run(["ctl", "broker"], _About) ->
    {UptimeMs, _} = erlang:statistics(wall_clock),
    {ok, [io_lib:format("~-10s: ~ts~n", [Key, Value])
          || {Key, Value} <- [{"sysdescr", description()}, {"version", version()},
                              {"datetime", now_text()}, {"uptime", duration(UptimeMs)}]]};
run(["ctl", "cluster", "status"], About) ->
    {ok, io_lib:format("Cluster status: ~p~n", [members(About)])};
run(["ctl", "cluster", "status", "--json"], About) ->
    Names = maps:fold(fun(Key, Nodes, Done) ->
                          Done#{atom_to_binary(Key) => [atom_to_binary(Node) || Node <- Nodes]}
                      end, #{}, members(About)),
    {ok, [embedded_node_json:encode(Names), $\n]};
run(["ctl", "listeners"], #{listeners := Listeners}) ->
    {ok, [listener(Listener) || Listener <- Listeners]};
run(["ctl" | Words], _About) ->
    {error, ["unknown command \"", lists:join($\s, Words), "\"; there are: ctl status, "
             "ctl broker, ctl cluster status [--json], ctl listeners\n"]};
run(_Other, _About) ->
    {error, "unknown command; there are: ctl, eval, ping\n"}.

%% The sentences of EMQX's `ctl broker': as long as needed, no unit before the first that counts.
duration(Milliseconds) ->
    {Days, {Hours, Minutes, Seconds}} = calendar:seconds_to_daystime(Milliseconds div 1000),
    Parts = lists:dropwhile(fun({Count, _Unit}) -> Count =:= 0 end,
                            [{Days, "days"}, {Hours, "hours"}, {Minutes, "minutes"},
                             {Seconds, "seconds"}]),
    lists:join(", ", [io_lib:format("~b ~ts", [Count, Unit]) || {Count, Unit} <- Parts]).

now_text() ->
    calendar:system_time_to_rfc3339(erlang:system_time(), [{unit, nanosecond}]).

members(#{seeds := Seeds}) ->
    Running = embedded_node_router:members(),
    #{running_nodes => Running, stopped_nodes => lists:usort(Seeds) -- Running}.

%% EMQX has shutdown counts by reason here, which this node does not keep.
listener(#{name := Name, type := Type, bind := Bind, acceptors := Acceptors,
           max_connections := Max, proxy_protocol := Proxied} = Listener) ->
    Running = embedded_node_listener:is_running(Listener),
    Lines = [{"listen_on", embedded_node_config:bind_text(Bind)},
             {"acceptors", integer_to_list(Acceptors)},
             {"proxy_protocol", atom_to_list(Proxied)},
             {"running", atom_to_list(Running)}]
        ++ [{"current_conn", integer_to_list(embedded_node_connection_sup:count(Listener))}
            || Running]
        ++ [{"max_conns", io_lib:format("~w", [Max])}],
    [io_lib:format("~ts:~ts~n", [Type, Name]),
     [io_lib:format("  ~-16s: ~ts~n", [Key, Value]) || {Key, Value} <- Lines]].

%% Expressions as the shell takes them; the last full stop may be left out.
eval(Text) ->
    case erl_scan:string(with_full_stop(string:trim(Text))) of
        {error, {_Line, Module, Reason}, _} -> no_erlang(Module, Reason);
        {ok, Tokens, _} ->
            case erl_parse:parse_exprs(Tokens) of
                {error, {_Line, Module, Reason}} -> no_erlang(Module, Reason);
                {ok, Expressions} -> value(Expressions)
            end
    end.

with_full_stop(Text) ->
    case lists:suffix(".", Text) of
        true -> Text;
        false -> Text ++ "."
    end.

no_erlang(Module, Reason) ->
    {error, ["this is no Erlang expression: ", Module:format_error(Reason), $\n]}.

value(Expressions) ->
    try erl_eval:exprs(Expressions, erl_eval:new_bindings()) of
        {value, Value, _Bindings} -> {ok, io_lib:format("~p~n", [Value])}
    catch
        Class:Reason -> {error, io_lib:format("the expression ended with ~ts: ~0p~n",
                                              [Class, Reason])}
    end.

version() ->
    maps:get(<<"version">>, maps:from_list(embedded_node_identity:properties())).

description() ->
    #{<<"product">> := Product, <<"note">> := Note} =
        maps:from_list(embedded_node_identity:properties()),
    [Product, " (", Note, ")"].
