-module(embedded_node_users_tests).
-include("check.hrl").

may_connect_test_() ->
    [?_assertEqual(Expected, embedded_node_users:may_connect(given(Name, Password), Users))
     || {Name, Password, Users, Expected} <- [
        {none, none, none, true},
        {<<"anybody">>, <<"anything">>, none, true},
        {<<"probe">>, <<"right">>, users(), true},
        {<<"ünï"/utf8>>, <<"pässword"/utf8>>, users(), true},
        {<<"probe">>, <<"wrong">>, users(), false},
        {<<"probe">>, <<>>, users(), false},
        {<<"probe">>, none, users(), false},
        {<<"other">>, <<"right">>, users(), false},
        {none, <<"right">>, users(), false},
        {none, none, users(), false},
        {<<"probe">>, <<"right">>, [], false}]].

%% RFC 7914, section 11: PBKDF2-HMAC-SHA-256 of "passwd" with "salt" after one iteration.
known_answer_test() ->
    Hash = <<"55AC046E56E3089FEC1691C22544B605F94185216DDE0465E68B9D57C20DACBC"
             "A49CA9CCCF179B645991664B39D77EF317C71B845B1E30BD509112041D3A1978">>,
    User = #{username => <<"u">>, salt => binary:encode_hex(<<"salt">>), iterations => 1,
             hash => binary:part(Hash, 0, 64)},
    ?assert(embedded_node_users:may_connect(given(<<"u">>, <<"passwd">>), [User])).

given(Name, none) -> #{username => Name, password => none};
given(Name, Password) -> #{username => Name, password => fun() -> Password end}.

users() ->
    [user(<<"probe">>, <<"right">>), user(<<"ünï"/utf8>>, <<"pässword"/utf8>>)].

user(Name, Password) ->
    Salt = crypto:strong_rand_bytes(16),
    #{username => Name, salt => binary:encode_hex(Salt), iterations => 100,
      hash => binary:encode_hex(crypto:pbkdf2_hmac(sha256, Password, Salt, 100, 32))}.
