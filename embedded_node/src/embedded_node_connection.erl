%% @doc One client: upgrade to TLS, then MQTT until either side closes.
-module(embedded_node_connection).
-behaviour(gen_server).

-export([start_link/2, socket_is_yours/1, socket_is_gone/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-record(state, {
    settings :: map(),
    socket :: gen_tcp:socket() | ssl:sslsocket(),
    parser :: embedded_node_frame:parser(),
    session = none :: embedded_node_session:session() | none,
    last_heard = 0 :: integer()
}).

%% The acceptor hands the socket over right after the start.
-define(HAND_OVER_MS, 5_000).

-spec start_link(map(), gen_tcp:socket()) -> {ok, pid()}.
start_link(Settings, Socket) ->
    gen_server:start_link(?MODULE, {Settings, Socket}, []).

-spec socket_is_yours(pid()) -> ok.
socket_is_yours(Connection) ->
    gen_server:cast(Connection, upgrade).

-spec socket_is_gone(pid()) -> ok.
socket_is_gone(Connection) ->
    gen_server:cast(Connection, gone).

init({#{max_packet_size := Max} = Settings, Socket}) ->
    State = #state{settings = Settings, socket = Socket, parser = embedded_node_frame:new(Max)},
    {ok, State, ?HAND_OVER_MS}.

handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

handle_cast(upgrade, #state{settings = Settings, socket = Tcp} = State) ->
    #{tls_options := Options, handshake_timeout := Timeout} = Settings,
    case ssl:handshake(Tcp, Options, Timeout) of
        {ok, Tls} ->
            embedded_node_stats:count(completed),
            erlang:send_after(maps:get(connect_timeout, Settings), self(), connect_timeout),
            await_more(State#state{socket = Tls});
        {error, Reason} ->
            embedded_node_stats:count(failed),
            logger:info("handshake failed: ~0p", [Reason]),
            %% After a refused handshake ssl has closed the socket, after wrong options not.
            gen_tcp:close(Tcp),
            {stop, normal, State}
    end;
handle_cast(gone, State) ->
    {stop, normal, State}.

handle_info({ssl, _Socket, Bytes}, #state{parser = Parser} = State) ->
    packets(State#state{parser = embedded_node_frame:feed(Bytes, Parser),
                        last_heard = now_ms()});
handle_info({deliver, Message}, #state{session = Session} = State) when Session =/= none ->
    {ok, Packets, Next} = embedded_node_session:deliver(Message, Session),
    send_or_stop(Packets, State#state{session = Next});
handle_info(connect_timeout, #state{session = none} = State) ->
    {stop, normal, State};
handle_info(connect_timeout, State) ->
    {noreply, State};
handle_info(keep_alive, #state{session = Session, last_heard = Heard} = State) ->
    case Heard + allowance_ms(Session) - now_ms() of
        Left when Left > 0 ->
            erlang:send_after(Left, self(), keep_alive),
            {noreply, State};
        _Overdue -> refuse(keep_alive_timeout, State)
    end;
handle_info(taken_over, State) ->
    refuse(taken_over, State);
handle_info(timeout, State) ->
    {stop, normal, State};
handle_info({ssl_closed, _Socket}, State) ->
    {stop, normal, State};
handle_info({ssl_error, _Socket, _Reason}, State) ->
    {stop, normal, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

terminate(_Reason, #state{session = none} = State) ->
    close(State);
terminate(_Reason, #state{session = Session} = State) ->
    ok = embedded_node_session:publish_will(Session),
    close(State).

close(#state{socket = Socket}) when is_port(Socket) -> gen_tcp:close(Socket);
close(#state{socket = Socket}) -> ssl:close(Socket).

packets(#state{parser = Parser} = State) ->
    case embedded_node_frame:next(Parser) of
        {more, Kept} -> await_more(State#state{parser = Kept});
        {ok, Packet, Rest} -> packet(Packet, State#state{parser = Rest});
        {error, Reason} -> refuse(Reason, State)
    end.

packet({connect, Connect}, #state{session = none, settings = Settings} = State) ->
    case embedded_node_session:connect(Connect, maps:get(max_packet_size, Settings)) of
        {ok, Packets, Session} ->
            embedded_node_stats:count(mqtt_connects),
            ok = watch_keep_alive(Session),
            continue(Packets, State#state{session = Session});
        {refuse, Packets, Reason} ->
            logger:info("CONNECT refused: ~ts", [Reason]),
            _ = send(Packets, State),
            {stop, normal, State}
    end;
packet(Packet, #state{session = Session} = State) ->
    case embedded_node_session:packet(Packet, Session) of
        {ok, Packets, Next} -> continue(Packets, State#state{session = Next});
        {stop, Packets, Reason, Last} ->
            logger:info("closed: ~0p", [Reason]),
            _ = send(Packets, State),
            {stop, normal, State#state{session = Last}}
    end.

continue(Packets, State) ->
    case send(Packets, State) of
        ok -> packets(State);
        {error, _Reason} -> {stop, normal, State}
    end.

send_or_stop(Packets, State) ->
    case send(Packets, State) of
        ok -> {noreply, State};
        {error, _Reason} -> {stop, normal, State}
    end.

refuse(Reason, #state{parser = Parser} = State) ->
    {Version, Packets} =
        embedded_node_session:refusal(Reason, embedded_node_frame:version(Parser)),
    logger:info("closed: ~0p", [Reason]),
    _ = send_as(Version, Packets, State),
    {stop, normal, State}.

send(Packets, #state{parser = Parser} = State) ->
    send_as(embedded_node_frame:version(Parser), Packets, State).

send_as(_Version, [], _State) ->
    ok;
send_as(_Version, _Packets, #state{socket = Tcp}) when is_port(Tcp) ->
    {error, no_tls};
send_as(Version, Packets, #state{socket = Socket}) ->
    ssl:send(Socket, [embedded_node_frame:serialize(Packet, Version) || Packet <- Packets]).

await_more(#state{socket = Socket} = State) ->
    case ssl:setopts(Socket, [{active, once}]) of
        ok -> {noreply, State};
        {error, _Closed} -> {stop, normal, State}
    end.

watch_keep_alive(Session) ->
    case allowance_ms(Session) of
        0 -> ok;
        Allowance ->
            erlang:send_after(Allowance, self(), keep_alive),
            ok
    end.

%% One and a half times the promise (3.1.2.10).
allowance_ms(Session) ->
    embedded_node_session:keep_alive(Session) * 1500.

now_ms() ->
    erlang:monotonic_time(millisecond).
