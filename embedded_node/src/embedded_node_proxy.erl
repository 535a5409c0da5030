%% @doc The header of the PROXY protocol (versions 1 and 2 of HAProxy's proxy-protocol.txt), which a
%% load balancer sends before the client's first byte, so that the node knows the client's address.
%%
%% Read the way EMQX's esockd reads it: a whole line is awaited first. So a client that comes
%% without a header is closed at the timeout, or at once when there is a line feed in what it sent.
-module(embedded_node_proxy).

-export([read/2]).
-export_type([source/0]).

-type source() :: {inet:ip_address(), inet:port_number()}.

%% A header of version 2 begins with \r\n, so that it is a line to whoever expects one.
-define(REST_OF_SIGNATURE_V2, "\r\n", 0, "\r\nQUIT\n").
-define(LOCAL, 0).
-define(PROXY, 1).
-define(INET, 1).
-define(INET6, 2).
-define(STREAM, 1).

%% @doc Read the header off a passive socket within so many milliseconds, and nothing behind it.
%%
%% `local' is a connection of the load balancer's own, such as a health check, or one of which it
%% does not tell the source. The sentence of an error goes on after "the listener ...".
-spec read(gen_tcp:socket(), non_neg_integer()) ->
    {ok, source() | local} | {error, iodata()}.
read(Socket, TimeoutMs) ->
    Until = erlang:monotonic_time(millisecond) + TimeoutMs,
    ok = inet:setopts(Socket, [{packet, line}]),
    Line = received(Socket, 0, Until),
    _ = inet:setopts(Socket, [{packet, raw}]),
    case Line of
        {ok, <<"\r\n">>} -> version_2(Socket, Until);
        {ok, <<"PROXY UNKNOWN", _/binary>>} -> {ok, local};
        {ok, <<"PROXY TCP", Family, " ", Rest/binary>>} -> version_1(Family, Rest);
        {ok, Other} -> invalid(Other);
        {error, _Why} = Error -> Error
    end.

received(Socket, Length, Until) ->
    Left = max(0, Until - erlang:monotonic_time(millisecond)),
    case gen_tcp:recv(Socket, Length, Left) of
        {ok, Bytes} -> {ok, Bytes};
        {error, timeout} -> {error, "timed out while it waited for a PROXY protocol header"};
        {error, _Gone} -> {error, "was left by its client before a PROXY protocol header was there"}
    end.

invalid(Bytes) ->
    Shown = binary:part(Bytes, 0, min(byte_size(Bytes), 32)),
    {error, io_lib:format("got no valid PROXY protocol header but ~0p", [Shown])}.

version_1(Family, Rest) ->
    Words = binary:split(Rest, [<<" ">>, <<"\r\n">>], [global, trim]),
    case [binary_to_list(Word) || Word <- Words] of
        [Source, _Destination, SourcePort, _DestinationPort] ->
            case {address(Family, Source), string:to_integer(SourcePort)} of
                {{ok, Address}, {Port, ""}} when Port >= 0, Port =< 65_535 ->
                    {ok, {Address, Port}};
                _ -> invalid(Rest)
            end;
        _ -> invalid(Rest)
    end.

address($4, Text) -> inet:parse_ipv4strict_address(Text);
address($6, Text) -> inet:parse_ipv6strict_address(Text);
address(_Other, _Text) -> {error, einval}.

version_2(Socket, Until) ->
    case received(Socket, 14, Until) of
        {ok, <<?REST_OF_SIGNATURE_V2, 2:4, Command:4, Family:4, Transport:4, Length:16>>} ->
            case body(Socket, Length, Until) of
                {ok, Body} -> source(Command, Family, Transport, Body);
                {error, _Why} = Error -> Error
            end;
        {ok, Other} -> invalid(<<"\r\n", Other/binary>>);
        {error, _Why} = Error -> Error
    end.

%% 0 would mean "what is there" to recv.
body(_Socket, 0, _Until) -> {ok, <<>>};
body(Socket, Length, Until) -> received(Socket, Length, Until).

%% What stands behind the addresses (TLVs) is skipped.
source(?LOCAL, _Family, _Transport, _Body) ->
    {ok, local};
source(?PROXY, ?INET, ?STREAM, <<A, B, C, D, _To:4/binary, Port:16, _ToPort:16, _/binary>>) ->
    {ok, {{A, B, C, D}, Port}};
source(?PROXY, ?INET6, ?STREAM, <<From:16/binary, _To:16/binary, Port:16, _ToPort:16, _/binary>>) ->
    {ok, {list_to_tuple([Group || <<Group:16>> <= From]), Port}};
source(_Command, Family, _Transport, _Body) ->
    {error, io_lib:format("got a PROXY protocol header of a kind that it does not take "
                          "(address family ~b)", [Family])}.
