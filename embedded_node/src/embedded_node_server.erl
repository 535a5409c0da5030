%% @doc Owner of a listening socket for callers on this machine: one process a caller, which does
%% nothing but serve it, so that a slow or broken one is nobody else's trouble.
-module(embedded_node_server).
-behaviour(gen_server).

-export([start_link/3, accept/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([place/0, serve/0]).

-type place() :: {local, file:filename(), [gen_tcp:listen_option()]}
               | {inet, inet:ip_address(), inet:port_number(), [gen_tcp:listen_option()]}.
-type serve() :: fun((gen_tcp:socket()) -> term()).

%% @doc Listen at the place under this registered name. When that fails, the reason is
%% `{refused, Sentence}'.
-spec start_link(atom(), place(), serve()) -> gen_server:start_ret().
start_link(Name, Place, Serve) ->
    gen_server:start_link({local, Name}, ?MODULE, {Place, Serve}, []).

init({Place, Serve}) ->
    process_flag(trap_exit, true),
    case listen(Place) of
        {ok, Socket} ->
            _ = spawn_link(?MODULE, accept, [Socket, Serve]),
            {ok, {Place, Socket}};
        {error, Reason} -> {stop, {refused, [text(Place), ": ", inet:format_error(Reason)]}}
    end.

%% A Unix socket is for its owner alone. Its path is relative because it may have only 107 bytes.
listen({local, Path, Options}) ->
    _ = file:delete(Path),
    case gen_tcp:listen(0, [binary, {ifaddr, {local, Path}}, {active, false} | Options]) of
        {ok, Socket} ->
            ok = file:change_mode(Path, 8#600),
            {ok, Socket};
        {error, Reason} -> {error, Reason}
    end;
listen({inet, Ip, Port, Options}) ->
    Family = case tuple_size(Ip) of 4 -> inet; 8 -> inet6 end,
    gen_tcp:listen(Port, [binary, Family, {ip, Ip}, {active, false}, {reuseaddr, true} | Options]).

text({local, Path, _Options}) -> Path;
text({inet, Ip, Port, _Options}) ->
    embedded_node_config:bind_text({list_to_binary(inet:ntoa(Ip)), Port}).

handle_call(_Request, _From, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_Message, State) ->
    {noreply, State}.

%% Without its acceptor it serves nobody: the supervisor makes both anew.
handle_info({'EXIT', _AcceptorOrSocket, Reason}, State) ->
    {stop, Reason, State};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% Closed here and not by our end, which nobody can wait for: the next one may want the same place.
terminate(_Reason, {Place, Socket}) ->
    gen_tcp:close(Socket),
    case Place of
        {local, Path, _Options} -> file:delete(Path);
        {inet, _Ip, _Port, _Options} -> ok
    end.

%% @doc Serve one caller after another, until the socket is closed.
-spec accept(gen_tcp:socket(), serve()) -> ok.
accept(ListenSocket, Serve) ->
    case gen_tcp:accept(ListenSocket) of
        {ok, Socket} ->
            hand_over(Socket, Serve),
            ?MODULE:accept(ListenSocket, Serve);
        {error, closed} -> ok;
        {error, _GoneAlreadyOrNoFileDescriptorLeft} ->
            timer:sleep(100),
            ?MODULE:accept(ListenSocket, Serve)
    end.

hand_over(Socket, Serve) ->
    Server = spawn(fun() -> receive serve -> Serve(Socket) end end),
    case gen_tcp:controlling_process(Socket, Server) of
        ok -> Server ! serve;
        {error, _GoneAlready} -> exit(Server, kill)
    end.
