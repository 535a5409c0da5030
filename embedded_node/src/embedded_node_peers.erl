%% @doc Keeps the cluster together: connects to each configured peer, again and again for
%% as long as it is away. Either side's attempt is enough.
-module(embedded_node_peers).
-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(RETRY_MS, 500).

-spec start_link([node()]) -> {ok, pid()}.
start_link(Peers) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Peers, []).

init(Peers) ->
    ok = net_kernel:monitor_nodes(true),
    self() ! connect,
    {ok, lists:delete(node(), Peers)}.

handle_call(_Request, _From, Peers) ->
    {reply, {error, unknown}, Peers}.

handle_cast(_Message, Peers) ->
    {noreply, Peers}.

handle_info(connect, Peers) ->
    [net_kernel:connect_node(Peer) || Peer <- Peers -- nodes()],
    erlang:send_after(?RETRY_MS, self(), connect),
    {noreply, Peers};
handle_info({nodeup, Node}, Peers) ->
    logger:notice("~ts joined", [Node]),
    {noreply, Peers};
handle_info({nodedown, Node}, Peers) ->
    logger:notice("~ts left", [Node]),
    {noreply, Peers};
handle_info(_Unexpected, Peers) ->
    {noreply, Peers}.
