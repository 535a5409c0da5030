%% @doc Who subscribed to what on this node, and the way to the other nodes.
%%
%% A publish goes to every member node; each finds its own subscribers.
-module(embedded_node_router).
-behaviour(gen_server).

-export([start_link/0, members/0]).
-export([subscribe/2, unsubscribe/1, publish/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([message/0]).

-type message() :: #{topic := binary(), payload := binary(), qos := 0..1,
                     properties := embedded_node_frame:properties()}.

-define(SUBSCRIPTIONS, embedded_node_subscriptions).
-define(WILDCARDS, embedded_node_wildcards).
-define(MEMBERS, members).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The nodes of the cluster that this node sees, itself included.
-spec members() -> [node()].
members() ->
    lists:usort([node(Router) || Router <- pg:get_members(embedded_node, ?MEMBERS)]).

%% @doc Subscribe the calling session; a subscription with the same filter is replaced.
-spec subscribe(binary(), 0..1) -> ok.
subscribe(Filter, Qos) ->
    gen_server:call(?MODULE, {subscribe, Filter, Qos}, infinity).

-spec unsubscribe(binary()) -> ok.
unsubscribe(Filter) ->
    gen_server:call(?MODULE, {unsubscribe, Filter}, infinity).

%% @doc Send a message to its subscribers, on every node. The router itself delivers it: whoever
%% subscribes to take over a session then gets every message from there on.
-spec publish(message()) -> ok.
publish(Message) ->
    ok = gen_server:call(?MODULE, {publish, Message}, infinity),
    lists:foreach(fun(Router) -> gen_server:cast(Router, {publish, Message}) end, others()).

others() ->
    [Router || Router <- pg:get_members(embedded_node, ?MEMBERS), node(Router) =/= node()].

init([]) ->
    Options = [named_table, protected, {read_concurrency, true}],
    [Table = ets:new(Table, [bag | Options]) || Table <- [?SUBSCRIPTIONS, ?WILDCARDS]],
    ok = pg:join(embedded_node, ?MEMBERS, self()),
    {ok, #{}}.

%% The state has one monitor for each session that subscribed.
handle_call({subscribe, Filter, Qos}, {Pid, _Tag}, Monitors) ->
    Table = table(Filter),
    true = ets:match_delete(Table, {Filter, Pid, '_'}),
    true = ets:insert(Table, {Filter, Pid, Qos}),
    {reply, ok, monitored(Pid, Monitors)};
handle_call({unsubscribe, Filter}, {Pid, _Tag}, Monitors) ->
    true = ets:match_delete(table(Filter), {Filter, Pid, '_'}),
    {reply, ok, Monitors};
handle_call({publish, Message}, _From, Monitors) ->
    {reply, deliver(Message), Monitors}.

handle_cast({publish, Message}, Monitors) ->
    ok = deliver(Message),
    {noreply, Monitors}.

handle_info({'DOWN', _Ref, process, Pid, _Reason}, Monitors) ->
    [true = ets:match_delete(Table, {'_', Pid, '_'})
     || Table <- [?SUBSCRIPTIONS, ?WILDCARDS]],
    {noreply, maps:remove(Pid, Monitors)};
handle_info(_Unexpected, Monitors) ->
    {noreply, Monitors}.

monitored(Pid, Monitors) when is_map_key(Pid, Monitors) -> Monitors;
monitored(Pid, Monitors) -> Monitors#{Pid => erlang:monitor(process, Pid)}.

table(Filter) ->
    case embedded_node_topic:is_wildcard(Filter) of
        true -> ?WILDCARDS;
        false -> ?SUBSCRIPTIONS
    end.

deliver(#{topic := Topic, qos := Qos} = Message) ->
    maps:foreach(
        fun(Pid, Granted) -> Pid ! {deliver, Message#{qos := min(Qos, Granted)}} end,
        subscribers(Topic)).

%% A client with overlapping subscriptions gets a message once, at the highest QoS (3.3.4).
subscribers(Topic) ->
    Exact = ets:lookup(?SUBSCRIPTIONS, Topic),
    ByWildcard = [Entry || {Filter, _, _} = Entry <- ets:tab2list(?WILDCARDS),
                           embedded_node_topic:matches(Filter, Topic)],
    lists:foldl(
        fun({_Filter, Pid, Qos}, Found) ->
            maps:update_with(Pid, fun(Other) -> max(Other, Qos) end, Qos, Found)
        end,
        #{}, Exact ++ ByWildcard).
