%% @doc Topic names and filters (MQTT 3.1.1 and 5.0, 4.7).
-module(embedded_node_topic).

-export([is_name/1, is_filter/1, is_wildcard/1, matches/2]).

%% @doc Whether a PUBLISH may carry it.
-spec is_name(binary()) -> boolean().
is_name(<<>>) -> false;
is_name(Topic) -> binary:match(Topic, [<<"+">>, <<"#">>]) =:= nomatch.

%% @doc Whether a SUBSCRIBE may carry it: `+' fills a level, `#' only the last one.
-spec is_filter(binary()) -> boolean().
is_filter(<<>>) -> false;
is_filter(Filter) -> are_levels(levels(Filter)).

are_levels([<<"#">>]) -> true;
are_levels([<<"+">> | Rest]) -> are_levels(Rest);
are_levels([]) -> true;
are_levels([Level | Rest]) ->
    binary:match(Level, [<<"+">>, <<"#">>]) =:= nomatch andalso are_levels(Rest).

-spec is_wildcard(binary()) -> boolean().
is_wildcard(Filter) -> binary:match(Filter, [<<"+">>, <<"#">>]) =/= nomatch.

%% @doc Whether a topic name matches a filter. Wildcards at the first level do not match
%% names that begin with `$' (4.7.2).
-spec matches(Filter :: binary(), Name :: binary()) -> boolean().
matches(<<Wildcard, _/binary>>, <<"$", _/binary>>) when Wildcard =:= $+; Wildcard =:= $# -> false;
matches(Filter, Name) -> match(levels(Filter), levels(Name)).

match([<<"#">>], _Any) -> true;
match([<<"+">> | Filter], [_ | Name]) -> match(Filter, Name);
match([Level | Filter], [Level | Name]) -> match(Filter, Name);
match([], []) -> true;
match(_, _) -> false.

levels(Topic) -> binary:split(Topic, <<"/">>, [global]).
