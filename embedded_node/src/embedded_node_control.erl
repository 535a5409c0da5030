%% @doc The control socket: one command a line on ./control.sock, for the driver.
%%
%% `status' answers one line of JSON; `stop' stops the node in order. The path is relative
%% because a Unix socket's may have only 107 bytes.
-module(embedded_node_control).
-behaviour(gen_server).

-export([start_link/1, accept/2]).
-export([init/1, handle_call/3, handle_cast/2, terminate/2]).

-define(PATH, "control.sock").
-define(LONGEST_COMMAND, 64).
-define(COMMAND_TIMEOUT_MS, 5_000).

-spec start_link([embedded_node_config:listener()]) -> {ok, pid()}.
start_link(Listeners) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Listeners, []).

init(Listeners) ->
    process_flag(trap_exit, true),
    _ = file:delete(?PATH),
    Options = [{ifaddr, {local, ?PATH}}, binary, {active, false}, {packet, line},
               {packet_size, ?LONGEST_COMMAND}, {recbuf, ?LONGEST_COMMAND}],
    case gen_tcp:listen(0, Options) of
        {ok, Socket} ->
            ok = file:change_mode(?PATH, 8#600),
            _ = spawn_link(?MODULE, accept, [Socket, Listeners]),
            {ok, Socket};
        {error, Reason} ->
            {stop, {refused, ["control.sock: ", inet:format_error(Reason)]}}
    end.

handle_call(_Request, _From, Socket) ->
    {reply, {error, unknown}, Socket}.

handle_cast(_Message, Socket) ->
    {noreply, Socket}.

terminate(_Reason, _Socket) ->
    file:delete(?PATH).

%% @doc Serve one caller after another.
-spec accept(gen_tcp:socket(), [embedded_node_config:listener()]) -> no_return().
accept(ListenSocket, Listeners) ->
    {ok, Socket} = gen_tcp:accept(ListenSocket),
    Server = spawn(fun() -> receive serve -> serve(Socket, Listeners) end end),
    case gen_tcp:controlling_process(Socket, Server) of
        ok -> Server ! serve;
        {error, _GoneAlready} -> exit(Server, kill)
    end,
    ?MODULE:accept(ListenSocket, Listeners).

serve(Socket, Listeners) ->
    case gen_tcp:recv(Socket, 0, ?COMMAND_TIMEOUT_MS) of
        {ok, Line} ->
            Command = string:trim(Line),
            _ = gen_tcp:send(Socket, [answer(Command, Listeners), $\n]),
            gen_tcp:close(Socket),
            act(Command);
        {error, _Reason} -> gen_tcp:close(Socket)
    end.

answer(<<"status">>, Listeners) -> embedded_node_json:encode(status(Listeners));
answer(<<"stop">>, _Listeners) -> "stopping";
answer(_Other, _Listeners) -> "unknown command; there are: status, stop".

act(<<"stop">>) -> init:stop();
act(_Other) -> ok.

status(Listeners) ->
    Stats = embedded_node_stats:all(),
    {UptimeMs, _} = erlang:statistics(wall_clock),
    maps:merge(
        maps:from_list(embedded_node_identity:properties()),
        #{<<"members">> => [atom_to_binary(Node) || Node <- embedded_node_router:members()],
          <<"listeners">> => [listener(Listener) || Listener <- Listeners],
          <<"handshakes">> => #{<<"accepted">> => maps:get(accepted, Stats),
                                <<"completed">> => maps:get(completed, Stats),
                                <<"failed">> => maps:get(failed, Stats)},
          <<"mqtt_connects">> => maps:get(mqtt_connects, Stats),
          <<"sessions">> => embedded_node_client_sup:count(),
          <<"uptime_s">> => UptimeMs div 1000}).

listener(#{name := Name, type := Type, bind := Bind} = Listener) ->
    #{<<"name">> => Name,
      <<"type">> => atom_to_binary(Type),
      <<"bind">> => iolist_to_binary(embedded_node_config:bind_text(Bind)),
      <<"current_connections">> => embedded_node_connection_sup:count(Listener)}.
