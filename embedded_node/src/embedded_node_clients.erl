%% @doc Finds the one session of a client id in the cluster, or makes it.
%%
%% Sessions are members of a pg group of their client id, so every node knows where each is, if a
%% moment late. Session Present must be true, so who wants a session asks the nodes themselves.
-module(embedded_node_clients).
-behaviour(gen_server).

-export([start_link/0, attach/2, elsewhere/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(SCOPE, embedded_node).
%% Sessions of a node that answers no sooner are lost: CONNECT cannot wait for a frozen node.
-define(ASK_MS, 2_000).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Give the calling connection the session that its admitted CONNECT asks for; whoever had
%% it is sent away, on every node. CONNACK is among what the session sends.
-spec attach(map(), pos_integer()) -> Session :: pid().
attach(#{client_id := ClientId, clean_start := Clean} = Connect, MaxPacket) ->
    %% Before the session can be seen by the others: two never wait for each other.
    {Asked, Silent} = ask_nodes(Clean, ClientId),
    {Session, Known} = gen_server:call(?MODULE, {open, ClientId}, infinity),
    {Lost, Others} = lists:partition(fun(Pid) -> lists:member(node(Pid), Silent) end,
                                     lists:usort(Asked ++ Known)),
    [embedded_node_client:discard(Pid) || Pid <- Lost],
    try embedded_node_client:attach(Session, Connect, MaxPacket, Others) of
        ok -> Session
    catch
        %% It ended at this very moment.
        exit:{Reason, _Call} when Reason =:= noproc; Reason =:= normal ->
            attach(Connect, MaxPacket)
    end.

ask_nodes(true, _ClientId) ->
    {[], []};
ask_nodes(false, ClientId) ->
    Nodes = lists:delete(node(), embedded_node_router:members()),
    {Answers, Silent} = gen_server:multi_call(Nodes, ?MODULE, {sessions, ClientId}, ?ASK_MS),
    {lists:append([Sessions || {_Node, Sessions} <- Answers]), Silent}.

%% @doc The sessions of a client id on other nodes; more than one only after nodes were parted.
-spec elsewhere(binary()) -> [pid()].
elsewhere(ClientId) ->
    [Pid || Pid <- pg:get_members(?SCOPE, {client, ClientId}), node(Pid) =/= node()].

init([]) ->
    {ok, none}.

%% One at a time: two connections of one client id get the same process.
handle_call({open, ClientId}, _From, State) ->
    Others = elsewhere(ClientId),
    case here(ClientId) of
        [Session | _] -> {reply, {Session, Others}, State};
        [] -> {reply, {start(ClientId, Others), Others}, State}
    end;
handle_call({sessions, ClientId}, _From, State) ->
    {reply, here(ClientId), State}.

handle_cast(_Message, State) ->
    {noreply, State}.

here(ClientId) ->
    [Pid || Pid <- pg:get_local_members(?SCOPE, {client, ClientId}), is_process_alive(Pid)].

start(ClientId, Others) ->
    {ok, Session} = embedded_node_client_sup:start_client(ClientId, Others),
    ok = pg:join(?SCOPE, {client, ClientId}, Session),
    Session.
