%% @doc The embedded node: boots from node.config in its working directory.
%%
%% A small MQTT broker that opens its TLS listeners the way EMQX does, on the same
%% Erlang/OTP library. It is not EMQX and says so in CONNACK and in its status.
-module(embedded_node).
-behaviour(application).

-export([boot/0, boot/1, sentence/1]).
-export([start/2, stop/1]).

-define(NAME_IN_USE_MS, 5_000).

%% @doc Entry point for `erl -s embedded_node boot'. Ends the VM with status 1 and one
%% sentence on standard error when the node cannot boot.
-spec boot() -> ok.
boot() ->
    boot([file]).

%% @doc The same for `erl -s embedded_node boot console': the log goes to standard output, which
%% is what a container's log shows.
-spec boot([file | console]) -> ok.
boot([Log]) ->
    try
        ok = log_to(Log),
        Config = embedded_node_config:read("node.config"),
        ok = configure_ssl(Config),
        ok = start_distribution(Config),
        ok = start_application(Config),
        ok = introduce(Config)
    catch
        throw:{cannot_boot, Sentence} -> refuse(Sentence);
        Class:Reason:Stack ->
            logger:error("boot failed: ~p", [{Class, Reason, Stack}]),
            refuse(io_lib:format("unexpected ~ts: ~0p", [Class, Reason]))
    end.

%% Refuses here: a permanent application that returned the error would end the VM with a
%% report of its own before anybody could say why.
start(_Type, _Arguments) ->
    {ok, Config} = application:get_env(embedded_node, config),
    case embedded_node_sup:start_link(Config) of
        {ok, Supervisor} -> {ok, Supervisor};
        {error, Reason} -> refuse(sentence(Reason))
    end.

stop(_State) ->
    ok.

-spec refuse(iodata()) -> no_return().
refuse(Sentence) ->
    io:format(standard_error, "cannot boot: ~ts~n", [Sentence]),
    %% The log is written by another process: give it its turn, or the reason is lost.
    _ = logger_std_h:filesync(node_log),
    erlang:halt(1, [{flush, true}]).

log_to(Log) ->
    _ = logger:remove_handler(default),
    logger:add_handler(node_log, logger_std_h, #{
        config => log_config(Log),
        formatter => {logger_formatter, #{time_offset => "Z"}}
    }).

log_config(file) -> #{file => "node.log", max_no_bytes => 5_000_000, max_no_files => 2};
log_config(console) -> #{type => standard_io}.

%% Both are read when ssl starts, hence before it.
configure_ssl(Config) ->
    ok = application:load(ssl),
    set_unless_default(session_lifetime, maps:get(session_lifetime, Config)),
    set_unless_default(session_cache_server_max, maps:get(session_cache_max, Config)).

set_unless_default(_Variable, default) -> ok;
set_unless_default(Variable, Value) -> application:set_env(ssl, Variable, Value).

%% The cookie is .erlang.cookie in $HOME, which the driver points at the cluster's
%% directory; so it is on no command line, and kernel checks its mode.
start_distribution(#{node := Node}) ->
    start_distribution(Node, now_ms() + ?NAME_IN_USE_MS).

%% A node of this name that was killed a moment ago keeps it until epmd has noticed.
start_distribution(Node, Until) ->
    case net_kernel:start(Node, #{name_domain => longnames, net_ticktime => 8}) of
        {ok, _Pid} -> ok;
        {error, Reason} ->
            logger:error("no distribution: ~p", [Reason]),
            InUse = is_in_use(Node),
            Late = now_ms() >= Until,
            if
                not InUse ->
                    no_distribution(Node, ["is epmd running on 127.0.0.1:", epmd_port(), "?"]);
                Late -> no_distribution(Node, "another node has this name");
                true ->
                    ok = await_name(Node, Until),
                    start_distribution(Node, Until)
            end
    end.

await_name(Node, Until) ->
    case is_in_use(Node) andalso now_ms() < Until of
        true -> timer:sleep(50), await_name(Node, Until);
        false -> ok
    end.

is_in_use(Node) ->
    [Name, _Host] = string:split(atom_to_list(Node), "@"),
    case erl_epmd:names({127, 0, 0, 1}) of
        {ok, Names} -> lists:keymember(Name, 1, Names);
        {error, _NoEpmd} -> false
    end.

epmd_port() ->
    os:getenv("ERL_EPMD_PORT", "4369").

no_distribution(Node, Why) ->
    throw({cannot_boot, io_lib:format("Erlang distribution as ~ts did not start: ~ts",
                                      [Node, Why])}).

now_ms() ->
    erlang:monotonic_time(millisecond).

start_application(Config) ->
    ok = application:load(embedded_node),
    ok = application:set_env(embedded_node, config, Config),
    {ok, _Started} = application:ensure_all_started(embedded_node, permanent),
    ok.

%% A container's log is the first that its user looks at.
introduce(#{container := _}) ->
    #{<<"product">> := Product, <<"note">> := Note, <<"version">> := Version,
      <<"otp_release">> := Otp} = maps:from_list(embedded_node_identity:properties()),
    logger:notice("~ts, an ~ts (~ts) ~ts on Erlang/OTP ~ts, is started",
                  [node(), Product, Note, Version, Otp]);
introduce(_OnThisMachine) ->
    ok.

%% @doc Why something that supervisors start did not start.
-spec sentence(term()) -> unicode:chardata().
sentence(Reason) ->
    case find_refusal(Reason) of
        {ok, Sentence} -> Sentence;
        none -> io_lib:format("the application did not start: ~0p", [Reason])
    end.

%% Supervisors wrap a child's reason in theirs, layer by layer.
find_refusal({refused, Sentence}) -> {ok, Sentence};
find_refusal(Tuple) when is_tuple(Tuple) -> find_refusal_in(tuple_to_list(Tuple));
find_refusal(_Other) -> none.

find_refusal_in([]) -> none;
find_refusal_in([Term | Rest]) ->
    case find_refusal(Term) of
        none -> find_refusal_in(Rest);
        Found -> Found
    end.
