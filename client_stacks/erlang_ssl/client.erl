%% An MQTT 3.1.1 client as an Erlang user's first one: ssl:connect, CONNECT, CONNACK, DISCONNECT, and
%% again. With on_a_socket as its first argument it does as emqtt, which connects TCP by itself and hands
%% ssl the socket.
-module(client).
-export([main/0]).

main() ->
    main(init:get_plain_arguments()),
    init:stop().

main(["on_a_socket" | Given]) -> main(fun on_a_socket/3, Given);
main(Given) -> main(fun by_name/3, Given).

main(How, [Host, Port, Ca, ServerName, Way, ClientId, Connections]) ->
    %% What ssl logs of its own goes where it can be told from what this client says.
    logger:remove_handler(default),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Address} = inet:parse_address(Host),
    {Named, Check} = named(inet:parse_address(ServerName), ServerName, Address),
    Options = [{verify, verify_peer}, {cacertfile, Ca}, {versions, ['tlsv1.2']},
               {active, false}, binary | Check ++ identity()],
    Connect = fun(Told) -> How(Named, list_to_integer(Port), Told ++ Options) end,
    connect(1, list_to_integer(Connections), Connect, list_to_binary(ClientId), list_to_atom(Way), []);
main(_, _) ->
    io:format(standard_error, "usage: client [on_a_socket] HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS~n", []),
    halt(2).

%% Whom to connect to, and what is needed to verify that it is the one: under test its name leads to
%% another address. ssl's own cache goes by what is connected to, so that should be the name.
named({error, _}, Name, Address) ->
    inet_db:set_lookup([file]),
    inet_db:add_host(Address, [Name]),
    {Name, [{customize_hostname_check,
             [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}]};
named({ok, Address}, _, Address) -> {Address, []};
named({ok, Ip}, _, Address) ->
    Verify = fun(Cert, valid_peer, State) ->
                     case public_key:pkix_verify_hostname(Cert, [{ip, Ip}]) of
                         true -> {valid, State};
                         false -> {fail, {bad_cert, hostname_check_failed}}
                     end;
                (_, {bad_cert, _} = Reason, _) -> {fail, Reason};
                (_, {extension, _}, State) -> {unknown, State};
                (_, valid, State) -> {valid, State}
             end,
    {Address, [{server_name_indication, disable}, {verify_fun, {Verify, []}}]}.

identity() ->
    case os:getenv("CLIENT_CERT") of
        false -> [];
        Cert -> [{certfile, Cert}, {keyfile, os:getenv("CLIENT_KEY")}]
    end.

by_name(Host, Port, Options) ->
    ssl:connect(Host, Port, Options, 10000).

%% ssl then knows of an address, and of the name only what server_name_indication says.
on_a_socket(Host, Port, Options) ->
    Name = case is_tuple(Host) of
        true -> [];
        false -> [{server_name_indication, Host}]
    end,
    case gen_tcp:connect(Host, Port, [binary, {active, false}, {nodelay, true}], 10000) of
        {ok, Socket} -> ssl:connect(Socket, Name ++ Options, 10000);
        {error, Reason} -> {error, Reason}
    end.

connect(Number, Last, _, _, _, _) when Number > Last -> ok;
connect(Number, Last, Connect, Id, Way, Session) ->
    %% What makes it resume: to save what was agreed on, and to name it the next time.
    Told = case {Way, Session} of
        {as_it_comes, _} -> [];
        {told, []} -> [{reuse_sessions, save}];
        {told, {SessionId, Data}} -> [{reuse_session, {SessionId, Data}}]
    end,
    {Seen, Next} = case Connect(Told) of
        {ok, Socket} -> talk(Socket, Id, Session);
        {error, Reason} -> {{null, -1, reason(Reason)}, Session}
    end,
    say(Number, Seen),
    connect(Number + 1, Last, Connect, Id, Way, Next).

talk(Socket, Id, Before) ->
    ok = ssl:send(Socket, connect_packet(Id)),
    Connack = case ssl:recv(Socket, 4, 10000) of
        {ok, <<16#20, 2, _, Code>>} -> {Code, ""};
        {ok, _} -> {-1, "this is no CONNACK"};
        {error, Why} -> {-1, reason(Why)}
    end,
    _ = ssl:send(Socket, <<16#E0, 0>>),
    {ok, Info} = ssl:connection_information(Socket, [session_id, session_data, session_resumption]),
    _ = ssl:close(Socket),
    {Code1, Error} = Connack,
    {{proplists:get_value(session_resumption, Info, null), Code1, Error}, newest(Info, Before)}.

newest(Info, Before) ->
    case {proplists:get_value(session_id, Info), proplists:get_value(session_data, Info)} of
        {Id, Data} when is_binary(Id), is_binary(Data), Id =/= <<>> -> {Id, Data};
        _ -> Before
    end.

connect_packet(Id) ->
    Who = [{16#80, os:getenv("MQTT_USERNAME")}, {16#40, os:getenv("MQTT_PASSWORD")}],
    Set = [{Flag, unicode:characters_to_binary(Text)} || {Flag, Text} <- Who, Text =/= false],
    Flags = lists:sum([16#02 | [Flag || {Flag, _} <- Set]]),
    Payload = << <<(byte_size(Text)):16, Text/binary>> || Text <- [Id | [Text || {_, Text} <- Set]] >>,
    Body = <<4:16, "MQTT", 4, Flags, 60:16, Payload/binary>>,
    <<16#10, (variable(byte_size(Body)))/binary, Body/binary>>.

variable(Number) when Number < 128 -> <<Number>>;
variable(Number) -> <<1:1, (Number rem 128):7, (variable(Number div 128))/binary>>.

say(Number, {Said, Code, Error}) ->
    %% Before ssl 11.5.2 session_resumption is not about sessions of TLS 1.2 (erlang/otp#10470).
    Resumed = case [list_to_integer(Part) || Part <- string:lexemes(ssl_version(), ".")] of
        Version when Version >= [11, 5, 2] -> Said;
        _ -> null
    end,
    Library = "Erlang/OTP " ++ erlang:system_info(otp_release) ++ ", ssl " ++ ssl_version(),
    io:format("{\"connection\": ~b, \"library\": \"~s\", \"resumed\": ~p, \"connack\": ~b, \"error\": \"~s\"}~n",
              [Number, Library, Resumed, Code, Error]).

ssl_version() ->
    {ok, Version} = application:get_key(ssl, vsn),
    Version.

%% In one line of JSON: without quotes, backslashes and line ends.
reason(Reason) ->
    [Letter || Letter <- lists:flatten(io_lib:format("~0p", [Reason])),
               Letter >= 32, Letter < 127, Letter =/= $", Letter =/= $\\].
