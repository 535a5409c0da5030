-module(embedded_node_json_tests).
-include("check.hrl").

encode_test_() ->
    [?_assertEqual(Expected, iolist_to_binary(embedded_node_json:encode(Value))) || {Value, Expected} <- [
        {<<"plain">>, <<"\"plain\"">>},
        {<<"q\"b\\s">>, <<"\"q\\\"b\\\\s\"">>},
        {<<"nl\n"/utf8>>, <<"\"nl\\u000a\"">>},
        {<<"é"/utf8>>, <<"\"é\""/utf8>>},
        {-3, <<"-3">>},
        {[true, false], <<"[true,false]">>},
        {#{<<"b">> => 1, <<"a">> => []}, <<"{\"a\":[],\"b\":1}">>}]].
