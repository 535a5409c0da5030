%% @doc One connection: upgrade to TLS, CONNECT, then packets between client and session until
%% either side closes.
-module(embedded_node_connection).
-behaviour(gen_server).

-export([start_link/2, socket_is_yours/1, socket_is_gone/1, peer/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2,
         format_status/1]).

-record(state, {
    settings :: map(),
    socket :: gen_tcp:socket() | ssl:sslsocket(),
    parser :: embedded_node_frame:parser(),
    session = none :: pid() | none,
    allowance_ms = 0 :: non_neg_integer(),
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

%% @doc The client's address, as the list of it or none. Nothing is asked of the process: it may be in
%% the middle of a handshake.
-spec peer(pid()) -> [binary()].
peer(Connection) ->
    case process_info(Connection, dictionary) of
        {dictionary, Known} -> [Peer || {peer, Peer} <- Known];
        undefined -> []
    end.

init({#{max_packet_size := Max} = Settings, Socket}) ->
    State = #state{settings = Settings, socket = Socket, parser = embedded_node_frame:new(Max)},
    {ok, State, ?HAND_OVER_MS}.

handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

handle_cast(upgrade, #state{settings = #{proxy := none}, socket = Tcp} = State) ->
    know_peer(inet:peername(Tcp)),
    upgrade(State);
handle_cast(upgrade, #state{settings = #{proxy := TimeoutMs, listener := Listener}, socket = Tcp} = State) ->
    case embedded_node_proxy:read(Tcp, TimeoutMs) of
        {ok, local} ->
            know_peer(inet:peername(Tcp)),
            upgrade(State);
        {ok, Source} ->
            know_peer({ok, Source}),
            upgrade(State);
        {error, Sentence} ->
            embedded_node_stats:count(failed),
            logger:error("the listener ~ts has proxy_protocol = true and ~ts",
                         [Listener, Sentence]),
            {stop, normal, State}
    end;
handle_cast(gone, State) ->
    {stop, normal, State}.

upgrade(#state{settings = Settings, socket = Tcp} = State) ->
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
    end.

know_peer({ok, {Address, Port}}) ->
    put(peer, iolist_to_binary(embedded_node_config:bind_text(
        {list_to_binary(inet:ntoa(Address)), Port})));
know_peer({error, _Gone}) ->
    ok.

handle_info({ssl, _Socket, Bytes}, #state{parser = Parser} = State) ->
    packets(State#state{parser = embedded_node_frame:feed(Bytes, Parser),
                        last_heard = now_ms()});
handle_info({send, Packets, Then}, State) ->
    case {send(Packets, State), Then} of
        {ok, quiet} -> {noreply, State};
        {ok, more} -> await_more(State);
        {_, _} -> {stop, normal, State}
    end;
handle_info({'DOWN', _Monitor, process, _Session, _Reason}, State) ->
    {stop, normal, State};
handle_info(connect_timeout, #state{session = none} = State) ->
    {stop, normal, State};
handle_info(connect_timeout, State) ->
    {noreply, State};
handle_info(keep_alive, #state{allowance_ms = Allowance, last_heard = Heard} = State) ->
    case Heard + Allowance - now_ms() of
        Left when Left > 0 ->
            erlang:send_after(Left, self(), keep_alive),
            {noreply, State};
        _Overdue -> refuse(keep_alive_timeout, State)
    end;
handle_info(timeout, State) ->
    {stop, normal, State};
handle_info({ssl_closed, _Socket}, State) ->
    {stop, normal, State};
handle_info({ssl_error, _Socket, _Reason}, State) ->
    {stop, normal, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% The session sees this process go.
terminate(_Reason, #state{socket = Socket}) when is_port(Socket) -> gen_tcp:close(Socket);
terminate(_Reason, #state{socket = Socket}) -> ssl:close(Socket).

%% What came from the client may hold its password: a crash report shows none of it.
format_status(Status) ->
    maps:map(fun(log, _Events) -> [];
                (reason, Reason) -> Reason;
                (_Key, _Value) -> hidden
             end, Status).

%% Whatever is whole goes on at once; more is read when it was answered.
packets(#state{parser = Parser} = State) ->
    {Packets, End, Rest} = parsed(Parser, []),
    handle(Packets, End, State#state{parser = Rest}).

parsed(Parser, Packets) ->
    case embedded_node_frame:next(Parser) of
        {ok, Packet, Rest} -> parsed(Rest, [Packet | Packets]);
        {more, Rest} -> {lists:reverse(Packets), more, Rest};
        {error, Reason} -> {lists:reverse(Packets), {error, Reason}, Parser}
    end.

handle([], more, State) ->
    await_more(State);
handle([], {error, Reason}, #state{session = none} = State) ->
    refuse(Reason, State);
%% The parser lets nothing else come first.
handle([{connect, Connect} | Rest], End, #state{session = none} = State) ->
    case embedded_node_session:admit(Connect, maps:get(users, State#state.settings)) of
        {ok, Admitted} -> handle(Rest, End, attached(Admitted, State));
        {refuse, Packets, Reason} ->
            logger:info("CONNECT refused: ~ts", [Reason]),
            _ = send(Packets, State),
            {stop, normal, State}
    end;
handle(Packets, End, #state{session = Session} = State) ->
    ok = embedded_node_client:packets(Session, Packets, End),
    {noreply, State}.

attached(#{keep_alive := Seconds} = Connect, #state{settings = Settings} = State) ->
    Session = embedded_node_clients:attach(Connect, maps:get(max_packet_size, Settings)),
    _ = erlang:monitor(process, Session),
    embedded_node_stats:count(mqtt_connects),
    Allowance = allowance_ms(Seconds),
    [erlang:send_after(Allowance, self(), keep_alive) || Allowance > 0],
    State#state{session = Session, allowance_ms = Allowance}.

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

%% One and a half times the promise (3.1.2.10).
allowance_ms(Seconds) ->
    Seconds * 1500.

now_ms() ->
    erlang:monotonic_time(millisecond).
