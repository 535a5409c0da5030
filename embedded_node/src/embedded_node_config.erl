%% @doc Reads node.config, the term file the driver makes from listeners.hocon.
-module(embedded_node_config).

-export([read/1, bind_text/1]).
-export_type([config/0, container/0, listener/0]).

-type listener() :: #{
    name := binary(),
    type := ssl,
    bind := {binary(), inet:port_number()},
    acceptors := pos_integer(),
    max_connections := pos_integer() | infinity,
    proxy_protocol := boolean(),
    proxy_protocol_timeout := non_neg_integer(),
    ssl_options := #{atom() => term()}
}.
%% What a node has on top in a container; its presence opens ctl.sock.
-type container() :: #{
    cluster_name := binary(),
    dashboard := {binary(), inet:port_number()} | none
}.
-type config() :: #{
    node := node(),
    peers := [node()],
    session_lifetime := non_neg_integer() | default,
    session_cache_max := pos_integer() | default,
    connect_timeout := timeout(),
    max_packet_size := pos_integer(),
    users := embedded_node_users:users(),
    listeners := [listener()],
    container => container()
}.

%% @doc Read the configuration; throws `{cannot_boot, Sentence}'.
-spec read(file:filename()) -> config().
read(File) ->
    case file:consult(File) of
        {ok, [#{node := _, peers := _, session_lifetime := _, session_cache_max := _,
                connect_timeout := _, max_packet_size := _, users := _,
                listeners := _} = Config]} ->
            Config;
        {ok, _Other} ->
            throw({cannot_boot, [File, " is not a map with all the keys a node needs"]});
        {error, Reason} ->
            throw({cannot_boot, [File, ": ", file:format_error(Reason)]})
    end.

%% @doc The bind as EMQX spells it.
-spec bind_text({binary(), inet:port_number()}) -> iodata().
bind_text({Address, Port}) ->
    case binary:match(Address, <<":">>) of
        nomatch -> [Address, $:, integer_to_list(Port)];
        _ -> [$[, Address, $], $:, integer_to_list(Port)]
    end.
