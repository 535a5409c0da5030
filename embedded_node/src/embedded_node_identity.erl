%% @doc Who this node says it is, in the same words everywhere.
-module(embedded_node_identity).

-export([properties/0]).

-spec properties() -> [{binary(), binary()}].
properties() ->
    [{<<"product">>, <<"embedded OTP node">>},
     {<<"note">>, <<"not EMQX">>},
     {<<"version">>, version(embedded_node)},
     {<<"otp_release">>, list_to_binary(erlang:system_info(otp_release))},
     {<<"ssl_version">>, version(ssl)},
     {<<"node">>, atom_to_binary(node())}].

version(Application) ->
    case application:get_key(Application, vsn) of
        {ok, Version} -> list_to_binary(Version);
        undefined -> <<"unknown">>
    end.
