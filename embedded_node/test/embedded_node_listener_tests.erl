-module(embedded_node_listener_tests).
-include("check.hrl").

-define(LISTENER(Port),
        #{name => <<"default">>, type => ssl, bind => {<<"127.0.0.1">>, Port}, acceptors => 1,
          max_connections => infinity, proxy_protocol => false, proxy_protocol_timeout => 1_000,
          ssl_options => #{versions => ['tlsv1.2']}}).

%% A supervisor starts the next one as soon as the last has ended.
the_port_is_free_at_once_test() ->
    Listener = ?LISTENER(free_port()),
    lists:foreach(
        fun(_) ->
            {ok, Pid} = embedded_node_listener:start_link(Listener),
            ?assert(embedded_node_listener:is_running(Listener)),
            unlink(Pid),
            Monitor = monitor(process, Pid),
            exit(Pid, shutdown),
            receive {'DOWN', Monitor, _, _, _} -> ok end,
            ?assertNot(embedded_node_listener:is_running(Listener))
        end,
        lists:seq(1, 50)).

a_lost_socket_ends_its_owner_test() ->
    Listener = ?LISTENER(free_port()),
    {ok, Pid} = embedded_node_listener:start_link(Listener),
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(embedded_node_listener:socket(Listener), kill),
    ?assertEqual(down, receive {'DOWN', Monitor, _, _, _} -> down after 5_000 -> up end).

a_taken_port_is_refused_test() ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    _ = process_flag(trap_exit, true),
    {error, {refused, Sentence}} = embedded_node_listener:start_link(?LISTENER(Port)),
    ?assertEqual(iolist_to_binary(["listeners.ssl.default: 127.0.0.1:", integer_to_list(Port),
                                   " is already in use"]), iolist_to_binary(Sentence)),
    gen_tcp:close(Taken).

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
