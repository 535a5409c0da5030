%% @doc Keeps the cluster together: connects to each configured peer, again and again for
%% as long as it is away. Either side's attempt is enough.
%%
%% Who is away is not called one by one: of each host its epmd is asked, once, which names it knows,
%% and only those are called. While a hundred nodes boot, each would otherwise ask about ninety-nine
%% that are yet to come, twice a second.
%%
%% Each question and each attempt is a process of its own: one at a host or peer that takes packets
%% and answers nothing, or whose name no DNS server cares to deny, lasts for seconds, and the others
%% shall not wait for it.
-module(embedded_node_peers).
-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([ask/1]).

-define(RETRY_MS, 500).
%% As long as net_kernel waits for a peer (net_setuptime).
-define(ANSWER_MS, 7_000).

-spec start_link([node()]) -> {ok, pid()}.
start_link(Peers) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Peers, []).

%% What is under way, by its monitor: a node for an attempt, a host's name for a question.
init(Peers) ->
    ok = net_kernel:monitor_nodes(true),
    self() ! connect,
    {ok, #{peers => lists:delete(node(), Peers), attempts => #{}}}.

handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info(connect, State) ->
    Hosts = lists:usort([host(Peer) || Peer <- missing(State)]),
    erlang:send_after(?RETRY_MS, self(), connect),
    {noreply, begin_at(Hosts, ?MODULE, ask, State)};
handle_info({'DOWN', Attempt, process, _Pid, Reason}, #{attempts := Attempts} = State) ->
    {Whom, Others} = maps:take(Attempt, Attempts),
    {noreply, answered(Whom, Reason, State#{attempts := Others})};
handle_info({nodeup, Node}, State) ->
    logger:notice("~ts joined", [Node]),
    {noreply, State};
handle_info({nodedown, Node}, State) ->
    logger:notice("~ts left", [Node]),
    {noreply, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

answered(Host, {knows, Names}, State) ->
    Known = [Peer || Peer <- missing(State), host(Peer) =:= Host, lists:member(name(Peer), Names)],
    begin_at(Known, net_kernel, connect_node, State);
answered(_Whom, _Reason, State) ->
    State.

missing(#{peers := Peers}) ->
    Peers -- nodes().

%% One attempt at a time at one peer, one question at a time to one host.
begin_at(Whom, Module, Function, #{attempts := Attempts} = State) ->
    Begun = [begin
                 {_Pid, Monitor} = spawn_monitor(Module, Function, [One]),
                 {Monitor, One}
             end || One <- Whom -- maps:values(Attempts)],
    State#{attempts := maps:merge(Attempts, maps:from_list(Begun))}.

%% @doc Ask a host's epmd which names it knows, and end with the answer.
-spec ask(string()) -> no_return().
ask(Host) ->
    {ok, _Timer} = timer:kill_after(?ANSWER_MS),
    exit({knows, case erl_epmd:names(Host) of
                     {ok, Names} -> [Name || {Name, _Port} <- Names];
                     {error, _Reason} -> []
                 end}).

name(Node) ->
    [Name, _Host] = string:split(atom_to_list(Node), "@"),
    Name.

host(Node) ->
    [_Name, Host] = string:split(atom_to_list(Node), "@"),
    Host.
