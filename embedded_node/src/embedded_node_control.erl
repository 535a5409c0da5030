%% @doc The control socket: one command a line on ./control.sock, for the driver.
%%
%% `status' answers one line of JSON; `stop' stops the node in order; `reopen Port File' closes the
%% listener at a port and opens it again with the trust anchors of a file, `restore Port' with its
%% own; `peers' answers one line of JSON with the addresses of the clients of each listener.
-module(embedded_node_control).

-export([start_link/1]).

-define(LONGEST_COMMAND, 64).
-define(COMMAND_TIMEOUT_MS, 5_000).

-spec start_link([embedded_node_config:listener()]) -> gen_server:start_ret().
start_link(Listeners) ->
    Options = [{packet, line}, {packet_size, ?LONGEST_COMMAND}, {recbuf, ?LONGEST_COMMAND}],
    embedded_node_server:start_link(?MODULE, {local, "control.sock", Options},
                                    fun(Socket) -> serve(Socket, Listeners) end).

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
answer(<<"peers">>, Listeners) ->
    embedded_node_json:encode(maps:from_list(
        [{iolist_to_binary(embedded_node_listener:label(Listener)),
          embedded_node_connection_sup:peers(Listener)} || Listener <- Listeners]));
answer(<<"stop">>, _Listeners) -> "stopping";
answer(<<"reopen ", Words/binary>>, Listeners) ->
    case binary:split(Words, <<" ">>) of
        [Port, File] -> reopen(Port, File, Listeners);
        [_Port] -> "reopen needs a port and a file"
    end;
answer(<<"restore ", Port/binary>>, Listeners) -> reopen(Port, own, Listeners);
answer(_Other, _Listeners) -> "unknown command; there are: status, stop, peers, reopen, "
                           "restore".

reopen(Port, Anchors, Listeners) ->
    case [Listener || #{bind := {_Address, Number}} = Listener <- Listeners,
                      integer_to_binary(Number) =:= Port] of
        [Listener | _] ->
            case embedded_node_listener_sup:reopen(Listener, Anchors) of
                ok -> "reopened";
                {error, Sentence} -> Sentence
            end;
        [] -> ["there is no listener at port ", Port]
    end.

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

listener(#{name := Name, type := Type, bind := Bind, proxy_protocol := Proxied} = Listener) ->
    #{<<"name">> => Name,
      <<"type">> => atom_to_binary(Type),
      <<"bind">> => iolist_to_binary(embedded_node_config:bind_text(Bind)),
      <<"proxy_protocol">> => Proxied,
      <<"current_connections">> => embedded_node_connection_sup:count(Listener)}.
