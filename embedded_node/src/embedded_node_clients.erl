%% @doc Finds the one session of a client id in the cluster, or makes it.
%%
%% Sessions are members of a pg group of their client id, so every node knows where each is, if a
%% moment late. Session Present must be true, so who wants a session asks the nodes themselves.
%%
%% A session that ends with its connection is told to the others once it has lasted a moment: to tell
%% a hundred nodes that it begins and that it ends costs several times the handshake before it, and
%% clients that only try whether they are served are gone by then. A client that connects to another
%% node within this moment is noticed a second later (embedded_node_client, rivals).
-module(embedded_node_clients).
-behaviour(gen_server).

-export([start_link/0, attach/2, elsewhere/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(SCOPE, embedded_node).
%% Sessions of a node that answers no sooner are lost: CONNECT cannot wait for a frozen node.
-define(ASK_MS, 2_000).
-define(MOMENT_MS, 200).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Give the calling connection the session that its admitted CONNECT asks for; whoever had
%% it is sent away, on every node. CONNACK is among what the session sends.
-spec attach(map(), pos_integer()) -> Session :: pid().
attach(#{client_id := ClientId, clean_start := Clean} = Connect, MaxPacket) ->
    %% Before the session can be seen by the others: two never wait for each other.
    {Asked, Silent} = ask_nodes(Clean, ClientId),
    Lasting = embedded_node_session:outlasts(Connect),
    {Session, Known} = gen_server:call(?MODULE, {open, ClientId, Lasting}, infinity),
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

%% The sessions of this node by client id, and the client ids by the sessions' monitors.
init([]) ->
    {ok, {#{}, #{}}}.

%% One at a time: two connections of one client id get the same process.
handle_call({open, ClientId, Lasting}, _From, State) ->
    Others = elsewhere(ClientId),
    {Session, Next} = case here(ClientId, State) of
        [Own] -> {Own, State};
        [] -> start(ClientId, Others, State)
    end,
    _ = Lasting andalso tell(ClientId, Session),
    {reply, {Session, Others}, Next};
handle_call({sessions, ClientId}, _From, State) ->
    {reply, here(ClientId, State), State}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info({tell, ClientId, Session}, State) ->
    _ = is_process_alive(Session) andalso tell(ClientId, Session),
    {noreply, State};
handle_info({'DOWN', Monitor, process, Session, _Reason}, {Sessions, Monitors}) ->
    {ClientId, Others} = maps:take(Monitor, Monitors),
    Left = case Sessions of
        #{ClientId := Session} -> maps:remove(ClientId, Sessions);
        %% Its client has a new one already.
        _ -> Sessions
    end,
    {noreply, {Left, Others}}.

here(ClientId, {Sessions, _Monitors}) ->
    [Pid || #{ClientId := Pid} <- [Sessions], is_process_alive(Pid)].

start(ClientId, Others, {Sessions, Monitors}) ->
    {ok, Session} = embedded_node_client_sup:start_client(ClientId, Others),
    Monitor = erlang:monitor(process, Session),
    _Timer = erlang:send_after(?MOMENT_MS, self(), {tell, ClientId, Session}),
    {Session, {Sessions#{ClientId => Session}, Monitors#{Monitor => ClientId}}}.

tell(ClientId, Session) ->
    lists:member(Session, pg:get_local_members(?SCOPE, {client, ClientId})) orelse
        pg:join(?SCOPE, {client, ClientId}, Session).
