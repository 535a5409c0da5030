%% Assertions for eunit. Debian's eunit comes without its own header, which is in erlang-dev:
%% the tests shall need nothing but erlang-eunit.
-compile({parse_transform, eunit_autoexport}).

-define(WRONG(Expression, Expected, Value),
        erlang:error({wrong, [{module, ?MODULE}, {line, ?LINE}, {expression, Expression},
                              {expected, Expected}, {value, Value}]})).

-define(assertEqual(Expected, Expression),
        (fun(X__) ->
             case Expression of
                 X__ -> ok;
                 V__ -> ?WRONG(??Expression, X__, V__)
             end
         end)(Expected)).

-define(assertNotEqual(Unexpected, Expression),
        (fun(X__) ->
             case Expression of
                 X__ -> ?WRONG(??Expression, {'not', X__}, X__);
                 _ -> ok
             end
         end)(Unexpected)).

-define(assertMatch(Pattern, Expression),
        (fun() ->
             case Expression of
                 Pattern -> ok;
                 V__ -> ?WRONG(??Expression, ??Pattern, V__)
             end
         end)()).

-define(assertThrow(Pattern, Expression),
        (fun() ->
             try Expression of
                 V__ -> ?WRONG(??Expression, {'throw', ??Pattern}, V__)
             catch
                 throw:Pattern -> ok
             end
         end)()).

-define(assert(Expression), ?assertEqual(true, Expression)).
-define(assertNot(Expression), ?assertEqual(false, Expression)).

-define(_assertEqual(Expected, Expression), {?LINE, fun() -> ?assertEqual(Expected, Expression) end}).
-define(_assertMatch(Pattern, Expression), {?LINE, fun() -> ?assertMatch(Pattern, Expression) end}).
-define(_assert(Expression), {?LINE, fun() -> ?assert(Expression) end}).
-define(_assertNot(Expression), {?LINE, fun() -> ?assertNot(Expression) end}).
