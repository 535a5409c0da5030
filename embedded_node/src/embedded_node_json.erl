%% @doc JSON for the status answer; OTP has an encoder only from release 27.
-module(embedded_node_json).

-export([encode/1]).

-type value() :: binary() | integer() | boolean() | [value()] | #{binary() => value()}.

-spec encode(value()) -> iodata().
encode(Text) when is_binary(Text) -> [$", [escape(C) || <<C/utf8>> <= Text], $"];
encode(Number) when is_integer(Number) -> integer_to_list(Number);
encode(true) -> "true";
encode(false) -> "false";
encode(List) when is_list(List) -> [$[, lists:join($,, [encode(Item) || Item <- List]), $]];
encode(Map) when is_map(Map) ->
    [${, lists:join($,, [[encode(Key), $:, encode(Value)]
                         || {Key, Value} <- lists:sort(maps:to_list(Map))]), $}].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape(C) when C < 16#20 -> io_lib:format("\\u~4.16.0b", [C]);
escape(C) -> <<C/utf8>>.
