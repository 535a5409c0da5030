-module(embedded_node_tls_tests).
-include("check.hrl").

given() ->
    #{versions => ['tlsv1.2'], ciphers => [], reuse_sessions => false,
      secure_renegotiate => true, client_renegotiation => true,
      handshake_timeout => 15000, certfile => <<"/tmp/zertifikät.pem"/utf8>>}.

options_test() ->
    {ok, Options} = embedded_node_tls:options(given()),
    ?assertEqual(false, proplists:get_value(reuse_sessions, Options)),
    ?assertEqual("/tmp/zertifikät.pem", proplists:get_value(certfile, Options)),
    ?assertNot(proplists:is_defined(ciphers, Options)),
    %% Not an option of OTP but the third argument of ssl:handshake/3.
    ?assertNot(proplists:is_defined(handshake_timeout, Options)).

trust_anchors_that_are_missing_test() ->
    Missing = (given())#{cacertfile => <<"/nowhere/ca.pem">>, verify => verify_none},
    {ok, Unverified} = embedded_node_tls:options(Missing),
    ?assertNot(proplists:is_defined(cacertfile, Unverified)),
    {ok, Verified} = embedded_node_tls:options(Missing#{verify := verify_peer}),
    ?assertEqual("/nowhere/ca.pem", proplists:get_value(cacertfile, Verified)),
    Present = filename:absname(?FILE),
    {ok, Kept} = embedded_node_tls:options(Missing#{cacertfile := list_to_binary(Present)}),
    ?assertEqual(Present, proplists:get_value(cacertfile, Kept)).

only_tls_1_3_test() ->
    {ok, Options} = embedded_node_tls:options((given())#{versions := ['tlsv1.3']}),
    ?assertNot(proplists:is_defined(reuse_sessions, Options)),
    ?assertNot(proplists:is_defined(secure_renegotiate, Options)).

ciphers_test() ->
    {ok, Options} = embedded_node_tls:options(
        (given())#{ciphers := [<<"ECDHE-RSA-AES128-GCM-SHA256">>,
                                <<"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384">>]}),
    ?assertMatch([#{key_exchange := ecdhe_rsa, cipher := aes_128_gcm},
                  #{key_exchange := ecdhe_rsa, cipher := aes_256_gcm}],
                 proplists:get_value(ciphers, Options)).

unknown_cipher_test() ->
    {error, Sentence} = embedded_node_tls:options((given())#{ciphers := [<<"ROT13">>]}),
    ?assertEqual(<<"ciphers: OTP does not know the cipher suite ROT13">>,
                 iolist_to_binary(Sentence)).

revocation_test() ->
    {ok, Options} = embedded_node_tls:options((given())#{enable_crl_check => true}),
    ?assertEqual(peer, proplists:get_value(crl_check, Options)),
    ?assertMatch({ssl_crl_cache, _}, proplists:get_value(crl_cache, Options)),
    ?assertNot(proplists:is_defined(enable_crl_check, Options)),
    {ok, Unchecked} = embedded_node_tls:options((given())#{enable_crl_check => false}),
    ?assertEqual([], [Key || {Key, _} <- Unchecked, lists:member(Key, [crl_check, crl_cache,
                                                                      enable_crl_check])]).
