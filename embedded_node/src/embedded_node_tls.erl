%% @doc EMQX's ssl_options as options of ssl:handshake/3.
-module(embedded_node_tls).

-export([options/1]).

%% Options of OTP that make sense below TLS 1.3 only; newer releases refuse them otherwise.
-define(BEFORE_TLS_1_3, [reuse_sessions, secure_renegotiate, client_renegotiation]).

%% The default of EMQX's crl_cache.http_timeout.
-define(CRL_TIMEOUT_MS, 15_000).

%% @doc The options, or a sentence that begins with the key at fault. A certificate file
%% that does not exist is left to fail in each handshake, as on EMQX; but for trust anchors with
%% verify_none.
-spec options(#{atom() => term()}) -> {ok, [ssl:tls_server_option()]} | {error, iodata()}.
options(#{versions := Versions} = Options) ->
    Kept = case Versions of
        ['tlsv1.3'] -> maps:without(?BEFORE_TLS_1_3, Options);
        _ -> Options
    end,
    case suites(maps:get(ciphers, Kept, [])) of
        {error, Name} -> {error, ["ciphers: OTP does not know the cipher suite ", Name]};
        {ok, Suites} ->
            Plain = anchors(maps:without([ciphers, enable_crl_check, handshake_timeout], Kept)),
            revocation(Kept, [option(Option) || Option <- maps:to_list(Plain)] ++ Suites)
    end.

%% As EMQX has it: trust anchors that nobody is held to may be missing. OTP would refuse everybody.
anchors(#{verify := verify_none, cacertfile := Path} = Options) ->
    case filelib:is_regular(unicode:characters_to_list(Path)) of
        true -> Options;
        false -> maps:remove(cacertfile, Options)
    end;
anchors(Options) ->
    Options.

option({Key, Path}) when Key =:= cacertfile; Key =:= certfile; Key =:= keyfile ->
    {Key, unicode:characters_to_list(Path)};
option(Other) ->
    Other.

%% As EMQX has it: the client's own certificate is looked up in the list at its distribution point,
%% and what cannot be looked up is refused. EMQX keeps a list for a while; OTP's own cache, here,
%% fetches it for each full handshake.
revocation(#{enable_crl_check := true}, Options) ->
    case is_there(inets) of
        true ->
            ok = have_anchors(proplists:get_value(cacertfile, Options)),
            {ok, [{crl_check, peer},
                  {crl_cache, {ssl_crl_cache, {internal, [{http, ?CRL_TIMEOUT_MS}]}}} | Options]};
        false ->
            {error, "enable_crl_check: revocation lists are fetched by Erlang's inets, which is "
                    "not installed (Debian's erlang-inets)"}
    end;
revocation(_Unchecked, Options) ->
    {ok, Options}.

%% On OTP 27 (not on 25) inets loads the system's CA certificates for plain HTTP, too, and fails where
%% there are none, as in a small container: every client is refused with internal_error then. What a
%% list is worth is told by its own signature.
have_anchors(undefined) -> ok;
have_anchors(File) ->
    try public_key:cacerts_get() of
        _OfTheSystem -> ok
    catch
        error:_None -> _ = public_key:cacerts_load(File), ok
    end.

is_there(Application) ->
    case application:load(Application) of
        ok -> true;
        {error, {already_loaded, Application}} -> true;
        {error, _NoSuchFile} -> false
    end.

%% None named: OTP's own choice.
suites([]) -> {ok, []};
suites(Names) -> suites(Names, []).

suites([], Suites) -> {ok, [{ciphers, lists:reverse(Suites)}]};
suites([Name | Rest], Suites) ->
    case ssl:str_to_suite(binary_to_list(Name)) of
        {error, _} -> {error, Name};
        Suite -> suites(Rest, [Suite | Suites])
    end.
