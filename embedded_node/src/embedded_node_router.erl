%% @doc Who subscribed to what on this node, and the way to the other nodes.
%%
%% A publish goes to every member node; each finds its own subscribers. Client ids are
%% announced the same way, so that a client is connected once in the cluster (3.1.4).
-module(embedded_node_router).
-behaviour(gen_server).

-export([start_link/0, members/0]).
-export([client_connected/1, subscribe/3, unsubscribe/1, publish/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(SUBSCRIPTIONS, embedded_node_subscriptions).
-define(WILDCARDS, embedded_node_wildcards).
-define(CLIENTS, embedded_node_clients).
-define(MEMBERS, members).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The nodes of the cluster that this node sees, itself included.
-spec members() -> [node()].
members() ->
    lists:usort([node(Router) || Router <- pg:get_members(embedded_node, ?MEMBERS)]).

%% @doc Register the calling connection under a client id; whoever has it is sent
%% `taken_over', on every node.
-spec client_connected(binary()) -> ok.
client_connected(ClientId) ->
    ok = gen_server:call(?MODULE, {client, ClientId}),
    lists:foreach(fun(Router) -> gen_server:cast(Router, {take_over, ClientId}) end, others()).

%% @doc Subscribe the calling connection; a subscription with the same filter is replaced.
-spec subscribe(binary(), 0..1, boolean()) -> ok.
subscribe(Filter, Qos, NoLocal) ->
    gen_server:call(?MODULE, {subscribe, Filter, Qos, NoLocal}).

%% @doc Tell whether there was something to unsubscribe.
-spec unsubscribe(binary()) -> boolean().
unsubscribe(Filter) ->
    gen_server:call(?MODULE, {unsubscribe, Filter}).

%% @doc Send a message to its subscribers, on every node.
-spec publish(map()) -> ok.
publish(Message) ->
    FromClient = Message#{from => self()},
    deliver(FromClient),
    lists:foreach(fun(Router) -> gen_server:cast(Router, {publish, FromClient}) end, others()).

others() ->
    [Router || Router <- pg:get_members(embedded_node, ?MEMBERS), node(Router) =/= node()].

init([]) ->
    Options = [named_table, protected, {read_concurrency, true}],
    [Table = ets:new(Table, [bag | Options]) || Table <- [?SUBSCRIPTIONS, ?WILDCARDS]],
    ?CLIENTS = ets:new(?CLIENTS, [set | Options]),
    ok = pg:join(embedded_node, ?MEMBERS, self()),
    {ok, #{}}.

%% The state has one monitor for each connection known.
handle_call({client, ClientId}, {Pid, _Tag}, Monitors) ->
    take_over(ClientId),
    true = ets:insert(?CLIENTS, {ClientId, Pid}),
    {reply, ok, Monitors#{Pid => erlang:monitor(process, Pid)}};
handle_call({subscribe, Filter, Qos, NoLocal}, {Pid, _Tag}, Monitors) ->
    Table = table(Filter),
    true = ets:match_delete(Table, {Filter, Pid, '_', '_'}),
    true = ets:insert(Table, {Filter, Pid, Qos, NoLocal}),
    {reply, ok, Monitors};
handle_call({unsubscribe, Filter}, {Pid, _Tag}, Monitors) ->
    Existing = {Filter, Pid, '_', '_'},
    Known = ets:match_object(table(Filter), Existing) =/= [],
    true = ets:match_delete(table(Filter), Existing),
    {reply, Known, Monitors}.

handle_cast({publish, Message}, Monitors) ->
    deliver(Message),
    {noreply, Monitors};
handle_cast({take_over, ClientId}, Monitors) ->
    take_over(ClientId),
    {noreply, Monitors}.

handle_info({'DOWN', _Ref, process, Pid, _Reason}, Monitors) ->
    true = ets:match_delete(?CLIENTS, {'_', Pid}),
    [true = ets:match_delete(Table, {'_', Pid, '_', '_'})
     || Table <- [?SUBSCRIPTIONS, ?WILDCARDS]],
    {noreply, maps:remove(Pid, Monitors)};
handle_info(_Unexpected, Monitors) ->
    {noreply, Monitors}.

take_over(ClientId) ->
    [Pid ! taken_over || {_Id, Pid} <- ets:take(?CLIENTS, ClientId)],
    ok.

table(Filter) ->
    case embedded_node_topic:is_wildcard(Filter) of
        true -> ?WILDCARDS;
        false -> ?SUBSCRIPTIONS
    end.

deliver(#{topic := Topic, qos := Qos, from := From} = Message) ->
    maps:foreach(
        fun(Pid, Granted) -> Pid ! {deliver, maps:remove(from, Message#{qos := min(Qos, Granted)})}
        end,
        subscribers(Topic, From)).

%% A client with overlapping subscriptions gets a message once, at the highest QoS (3.3.4).
subscribers(Topic, From) ->
    Exact = ets:lookup(?SUBSCRIPTIONS, Topic),
    ByWildcard = [Entry || {Filter, _, _, _} = Entry <- ets:tab2list(?WILDCARDS),
                           embedded_node_topic:matches(Filter, Topic)],
    lists:foldl(
        fun({_Filter, Pid, _Qos, true}, Found) when Pid =:= From -> Found;
           ({_Filter, Pid, Qos, _NoLocal}, Found) ->
                maps:update_with(Pid, fun(Other) -> max(Other, Qos) end, Qos, Found)
        end,
        #{}, Exact ++ ByWildcard).
