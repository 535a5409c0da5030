%% @doc Finds the one session of a client id in the cluster, or makes it.
%%
%% Sessions are members of a pg group of their client id, so every node knows where each is.
-module(embedded_node_clients).
-behaviour(gen_server).

-export([start_link/0, attach/2]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(SCOPE, embedded_node).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Give the calling connection the session that its admitted CONNECT asks for; whoever had
%% it is sent away, on every node. CONNACK is among what the session sends.
-spec attach(map(), pos_integer()) -> Session :: pid().
attach(#{client_id := ClientId} = Connect, MaxPacket) ->
    {Session, Others} = gen_server:call(?MODULE, {open, ClientId}, infinity),
    try embedded_node_client:attach(Session, Connect, MaxPacket, Others) of
        ok -> Session
    catch
        %% It ended at this very moment.
        exit:{Reason, _Call} when Reason =:= noproc; Reason =:= normal ->
            attach(Connect, MaxPacket)
    end.

init([]) ->
    {ok, none}.

%% One at a time: two connections of one client id get the same process.
handle_call({open, ClientId}, _From, State) ->
    Others = [Pid || Pid <- pg:get_members(?SCOPE, {client, ClientId}), node(Pid) =/= node()],
    case [Pid || Pid <- own(ClientId), is_process_alive(Pid)] of
        [Session | _] -> {reply, {Session, Others}, State};
        [] -> {reply, {start(ClientId, Others), Others}, State}
    end.

handle_cast({started, ClientId, Rival, Others}, State) ->
    [embedded_node_client:meet(Session, Rival, Others) || Session <- own(ClientId)],
    {noreply, State}.

own(ClientId) ->
    pg:get_local_members(?SCOPE, {client, ClientId}).

%% The others are looked up before this one can be seen, so two never wait for each other. If
%% neither saw the other, the announcement tells them.
start(ClientId, Others) ->
    {ok, Session} = embedded_node_client_sup:start_client(Others),
    ok = pg:join(?SCOPE, {client, ClientId}, Session),
    Nodes = lists:delete(node(), embedded_node_router:members()),
    abcast = gen_server:abcast(Nodes, ?MODULE, {started, ClientId, Session, Others}),
    Session.
