%% @doc Top supervisor: router and sessions before the listeners that use them, the control socket
%% last, so that its being there means that the node serves.
-module(embedded_node_sup).
-behaviour(supervisor).

-export([start_link/1, init/1]).

-spec start_link(embedded_node_config:config()) -> supervisor:startlink_ret().
start_link(Config) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Config).

init(#{listeners := Listeners, peers := Peers} = Config) ->
    ok = embedded_node_stats:new(),
    Limits = maps:with([connect_timeout, max_packet_size, users], Config),
    Children =
        [#{id => pg, start => {pg, start_link, [embedded_node]}},
         #{id => router, start => {embedded_node_router, start_link, []}},
         #{id => peers, start => {embedded_node_peers, start_link, [Peers]}},
         #{id => sessions, type => supervisor, start => {embedded_node_client_sup, start_link, []}},
         #{id => clients, start => {embedded_node_clients, start_link, []}}]
        ++ [listener(Listener, Limits) || Listener <- Listeners]
        ++ container(Config)
        ++ [#{id => control, start => {embedded_node_control, start_link, [Listeners]}}],
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, Children}}.

container(#{container := Container, listeners := Listeners, peers := Peers}) ->
    [#{id => ctl, start => {embedded_node_ctl, start_link, [Listeners, Peers]}}]
        ++ dashboard(Container);
container(_OnThisMachine) ->
    [].

dashboard(#{dashboard := none}) ->
    [];
dashboard(#{dashboard := Bind, cluster_name := ClusterName}) ->
    [#{id => dashboard, start => {embedded_node_dashboard, start_link, [Bind, ClusterName]}}].

listener(#{type := Type, name := Name} = Listener, Limits) ->
    #{id => {Type, Name}, type => supervisor,
      start => {embedded_node_listener_sup, start_link, [Listener, Limits]}}.
