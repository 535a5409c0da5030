%% @doc What the node counted since it booted.
-module(embedded_node_stats).

-export([new/0, count/1, all/0]).
-export_type([event/0]).

-type event() :: accepted | completed | failed | mqtt_connects.

-define(EVENTS, #{accepted => 1, completed => 2, failed => 3, mqtt_connects => 4}).

-spec new() -> ok.
new() ->
    persistent_term:put(?MODULE, counters:new(map_size(?EVENTS), [write_concurrency])).

-spec count(event()) -> ok.
count(Event) ->
    counters:add(persistent_term:get(?MODULE), maps:get(Event, ?EVENTS), 1).

-spec all() -> #{event() => non_neg_integer()}.
all() ->
    Counters = persistent_term:get(?MODULE),
    maps:map(fun(_Event, Index) -> counters:get(Counters, Index) end, ?EVENTS).
