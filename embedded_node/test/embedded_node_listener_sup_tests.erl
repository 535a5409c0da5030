-module(embedded_node_listener_sup_tests).
-behaviour(supervisor).
-include("check.hrl").
-export([init/1, idle/0]).

-define(LIMITS, #{connect_timeout => 1_000, max_packet_size => 1_000, users => none}).

listener(Port) ->
    #{name => <<"reopened">>, type => ssl, bind => {<<"127.0.0.1">>, Port}, acceptors => 1,
      max_connections => infinity, proxy_protocol => false, proxy_protocol_timeout => 1_000,
      ssl_options => #{versions => ['tlsv1.2'], cacertfile => <<"own.pem">>,
                       handshake_timeout => 1_000}}.

%% In the place of the node's own, with one listener and something after it.
init(Listener) ->
    {ok, {#{strategy => rest_for_one},
          [#{id => {ssl, <<"reopened">>}, type => supervisor,
             start => {embedded_node_listener_sup, start_link, [Listener, ?LIMITS]}},
           #{id => after_it, start => {proc_lib, start_link, [?MODULE, idle, []]}}]}}.

idle() ->
    proc_lib:init_ack({ok, self()}),
    receive stop -> ok end.

reopened_test() ->
    Port = free_port(),
    Listener = listener(Port),
    {ok, Supervisor} = supervisor:start_link({local, embedded_node_sup}, ?MODULE, Listener),
    {after_it, Beside, _, _} = lists:keyfind(after_it, 1, supervisor:which_children(Supervisor)),
    ?assertEqual("own.pem", cacertfile()),
    Before = whereis(embedded_node_listener:name(Listener)),
    ok = embedded_node_listener_sup:reopen(Listener, <<"other.pem">>),
    ?assertEqual("other.pem", cacertfile()),
    ?assertNotEqual(Before, whereis(embedded_node_listener:name(Listener))),
    %% Also when its supervisor has to start it again.
    Killed = whereis(embedded_node_listener:name(Listener)),
    exit(Killed, kill),
    ok = await_acceptors(Port, 100),
    ?assertNotEqual(Killed, whereis(embedded_node_listener:name(Listener))),
    ?assertEqual("other.pem", cacertfile()),
    ok = embedded_node_listener_sup:reopen(Listener, own),
    ?assertEqual("own.pem", cacertfile()),
    ?assert(is_process_alive(Beside)),
    ?assert(can_connect(Port)),
    unlink(Supervisor),
    gen_server:stop(Supervisor).

a_taken_port_is_told_and_can_be_tried_again_test() ->
    Port = free_port(),
    Listener = listener(Port),
    {ok, Supervisor} = supervisor:start_link({local, embedded_node_sup}, ?MODULE, Listener),
    ok = supervisor:terminate_child(embedded_node_sup, {ssl, <<"reopened">>}),
    {ok, Taken} = gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}]),
    {error, Sentence} = embedded_node_listener_sup:reopen(Listener, <<"other.pem">>),
    ?assertNotEqual(nomatch, string:find(unicode:characters_to_list(Sentence),
                                         "is already in use")),
    ok = gen_tcp:close(Taken),
    ok = embedded_node_listener_sup:reopen(Listener, own),
    ?assert(can_connect(Port)),
    unlink(Supervisor),
    gen_server:stop(Supervisor).

%% What new connections of the listener get.
cacertfile() ->
    {ok, #{start := {_, _, [#{tls_options := Options}]}}} =
        supervisor:get_childspec('listeners.ssl.reopened.connections', connection),
    proplists:get_value(cacertfile, Options).

%% They come last.
await_acceptors(Port, Tries) when Tries > 0 ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket), timer:sleep(50);
        {error, _Reason} -> timer:sleep(20), await_acceptors(Port, Tries - 1)
    end.

can_connect(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket), true;
        {error, _Reason} -> false
    end.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
