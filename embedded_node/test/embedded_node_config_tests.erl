-module(embedded_node_config_tests).
-include("check.hrl").

bind_text_test_() ->
    [?_assertEqual(<<"127.0.0.1:8883">>, text({<<"127.0.0.1">>, 8883})),
     ?_assertEqual(<<"[::1]:8883">>, text({<<"::1">>, 8883}))].

missing_file_test() ->
    ?assertThrow({cannot_boot, _}, embedded_node_config:read("no-such-file")).

incomplete_test() ->
    with_file("#{node => 'a@127.0.0.1'}.\n", fun(File) ->
        {cannot_boot, Sentence} = (try embedded_node_config:read(File) catch throw:T -> T end),
        ?assertNotEqual(nomatch, string:find(iolist_to_binary(Sentence), "all the keys"))
    end).

users_are_named_even_when_there_are_none_test() ->
    Rest = "peers => [], session_lifetime => default, session_cache_max => default, "
           "connect_timeout => 1, max_packet_size => 1, listeners => []}.\n",
    with_file("#{node => 'a@127.0.0.1', " ++ Rest, fun(File) ->
        ?assertThrow({cannot_boot, _}, embedded_node_config:read(File))
    end),
    with_file("#{node => 'a@127.0.0.1', users => none, " ++ Rest, fun(File) ->
        ?assertMatch(#{users := none}, embedded_node_config:read(File))
    end).

syntax_error_test() ->
    with_file("#{.\n", fun(File) ->
        ?assertThrow({cannot_boot, _}, embedded_node_config:read(File))
    end).

text(Bind) -> iolist_to_binary(embedded_node_config:bind_text(Bind)).

with_file(Text, Use) ->
    File = filename:join(os:getenv("TMPDIR", "/tmp"),
                         "embedded_node_config_" ++ os:getpid() ++ ".config"),
    ok = file:write_file(File, Text),
    try Use(File) after file:delete(File) end.
