%% @doc The sessions of this node, one process each.
-module(embedded_node_client_sup).
-behaviour(supervisor).

-export([start_link/0, start_client/2, count/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec start_client(binary(), [pid()]) -> supervisor:startchild_ret().
start_client(ClientId, Others) ->
    supervisor:start_child(?MODULE, [ClientId, Others]).

%% @doc Sessions now, of clients that are connected or away.
-spec count() -> non_neg_integer().
count() ->
    proplists:get_value(active, supervisor:count_children(?MODULE)).

init([]) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => client, restart => temporary, shutdown => brutal_kill,
             start => {embedded_node_client, start_link, []}}]}}.
