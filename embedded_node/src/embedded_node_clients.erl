%% @doc Finds the one session of a client id in the cluster, or makes it.
%%
%% Sessions are members of a pg group of their client id, so every node knows where each is.
-module(embedded_node_clients).
-behaviour(gen_server).

-export([start_link/0, attach/2, elsewhere/1]).
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

%% @doc The sessions of a client id on other nodes; more than one only after nodes were parted.
-spec elsewhere(binary()) -> [pid()].
elsewhere(ClientId) ->
    [Pid || Pid <- pg:get_members(?SCOPE, {client, ClientId}), node(Pid) =/= node()].

init([]) ->
    {ok, none}.

%% One at a time: two connections of one client id get the same process.
handle_call({open, ClientId}, _From, State) ->
    Others = elsewhere(ClientId),
    Own = pg:get_local_members(?SCOPE, {client, ClientId}),
    case [Pid || Pid <- Own, is_process_alive(Pid)] of
        [Session | _] -> {reply, {Session, Others}, State};
        [] -> {reply, {start(ClientId, Others), Others}, State}
    end.

handle_cast(_Message, State) ->
    {noreply, State}.

%% The others were looked up before this one can be seen: two never wait for each other.
start(ClientId, Others) ->
    {ok, Session} = embedded_node_client_sup:start_client(ClientId, Others),
    ok = pg:join(?SCOPE, {client, ClientId}, Session),
    Session.
