%% @doc Keeps the cluster together: connects to each configured peer, again and again for
%% as long as it is away. Either side's attempt is enough.
%%
%% Each attempt is a process of its own: one at a peer that takes packets and answers nothing, or
%% whose name no DNS server cares to deny, lasts for seconds, and the others shall not wait for it.
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
    {ok, #{peers => lists:delete(node(), Peers), attempts => #{}}}.

handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info(connect, #{peers := Peers, attempts := Attempts} = State) ->
    Missing = (Peers -- nodes()) -- maps:values(Attempts),
    Begun = maps:from_list([{attempt(Peer), Peer} || Peer <- Missing]),
    erlang:send_after(?RETRY_MS, self(), connect),
    {noreply, State#{attempts := maps:merge(Attempts, Begun)}};
handle_info({'DOWN', Attempt, process, _Pid, _Reason}, #{attempts := Attempts} = State) ->
    {noreply, State#{attempts := maps:remove(Attempt, Attempts)}};
handle_info({nodeup, Node}, State) ->
    logger:notice("~ts joined", [Node]),
    {noreply, State};
handle_info({nodedown, Node}, State) ->
    logger:notice("~ts left", [Node]),
    {noreply, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

attempt(Peer) ->
    {_Pid, Monitor} = spawn_monitor(net_kernel, connect_node, [Peer]),
    Monitor.
