%% @doc EMQX's ssl_options as options of ssl:handshake/3.
-module(embedded_node_tls).

-export([options/1]).

%% Options of OTP that make sense below TLS 1.3 only; newer releases refuse them otherwise.
-define(BEFORE_TLS_1_3, [reuse_sessions, secure_renegotiate, client_renegotiation]).

%% @doc The options, or a sentence that begins with the key at fault. A certificate file
%% that does not exist is left to fail in each handshake, as on EMQX.
-spec options(#{atom() => term()}) -> {ok, [ssl:tls_server_option()]} | {error, iodata()}.
options(#{versions := Versions} = Options) ->
    Kept = case Versions of
        ['tlsv1.3'] -> maps:without(?BEFORE_TLS_1_3, Options);
        _ -> Options
    end,
    case suites(maps:get(ciphers, Kept, [])) of
        {error, Name} -> {error, ["ciphers: OTP does not know the cipher suite ", Name]};
        {ok, Suites} ->
            Plain = maps:without([ciphers, handshake_timeout], Kept),
            {ok, [option(Option) || Option <- maps:to_list(Plain)] ++ Suites}
    end.

option({Key, Path}) when Key =:= cacertfile; Key =:= certfile; Key =:= keyfile ->
    {Key, unicode:characters_to_list(Path)};
option(Other) ->
    Other.

%% None named: OTP's own choice.
suites([]) -> {ok, []};
suites(Names) -> suites(Names, []).

suites([], Suites) -> {ok, [{ciphers, lists:reverse(Suites)}]};
suites([Name | Rest], Suites) ->
    case ssl:str_to_suite(binary_to_list(Name)) of
        {error, _} -> {error, Name};
        Suite -> suites(Rest, [Suite | Suites])
    end.
