%% @doc What answers where EMQX has its Dashboard: the status that load balancers and health
%% checks ask for, and a page that says what this node is not.
-module(embedded_node_dashboard).

-export([start_link/2, answer/3]).

-define(REQUEST_TIMEOUT_MS, 5_000).
-define(LONGEST_LINE, 8_192).
-define(MOST_HEADERS, 100).

-type response() :: {100..599, Headers :: [{string(), iodata()}], Body :: iodata()}.

-spec start_link({binary(), inet:port_number()}, binary()) -> gen_server:start_ret().
start_link({Address, Port}, ClusterName) ->
    {ok, Ip} = inet:parse_strict_address(binary_to_list(Address)),
    Options = [{packet, http_bin}, {packet_size, ?LONGEST_LINE}, {send_timeout, 5_000}],
    embedded_node_server:start_link(?MODULE, {inet, Ip, Port, Options},
                                    fun(Socket) -> serve(Socket, ClusterName) end).

serve(Socket, ClusterName) ->
    _ = case request(Socket) of
        {Method, Target} -> respond(Socket, Method, answer(Method, Target, ClusterName));
        malformed -> respond(Socket, 'GET', {400, [], <<>>});
        gone -> ok
    end,
    gen_tcp:close(Socket).

%% Headers are read and not looked at: closing with some of them unread would reset the connection
%% under the answer.
request(Socket) ->
    case gen_tcp:recv(Socket, 0, ?REQUEST_TIMEOUT_MS) of
        {ok, {http_request, Method, {abs_path, Target}, _Version}} ->
            headers(Socket, ?MOST_HEADERS, {Method, Target});
        {ok, _Other} -> malformed;
        {error, _Reason} -> gone
    end.

headers(_Socket, 0, _Request) ->
    malformed;
headers(Socket, Left, Request) ->
    case gen_tcp:recv(Socket, 0, ?REQUEST_TIMEOUT_MS) of
        {ok, {http_header, _, _, _, _}} -> headers(Socket, Left - 1, Request);
        {ok, http_eoh} -> Request;
        {ok, _Other} -> malformed;
        {error, _Reason} -> gone
    end.

respond(Socket, Method, {Status, Headers, Body}) ->
    All = Headers ++ [{"content-length", integer_to_list(iolist_size(Body))},
                      {"connection", "close"}],
    gen_tcp:send(Socket, [
        "HTTP/1.1 ", integer_to_list(Status), $\s, phrase(Status), "\r\n",
        [[Name, ": ", Value, "\r\n"] || {Name, Value} <- All], "\r\n",
        case Method of 'HEAD' -> <<>>; _ -> Body end]).

phrase(200) -> "OK";
phrase(400) -> "Bad Request";
phrase(404) -> "Not Found";
phrase(405) -> "Method Not Allowed".

%% @doc The answer to one request. Whoever asks has reached a node that serves: this port opens
%% after the listeners and closes before them.
-spec answer(atom() | binary(), binary(), binary()) -> response().
answer(Method, _Target, _ClusterName) when Method =/= 'GET', Method =/= 'HEAD' ->
    {405, [{"allow", "GET, HEAD"}], <<>>};
answer(_Method, Target, ClusterName) ->
    [Path | Query] = binary:split(Target, <<"?">>),
    case Path of
        <<"/status">> -> status(Query, ClusterName);
        <<"/">> -> {200, [{"content-type", "text/html; charset=utf-8"}], page()};
        _ -> {404, [{"content-type", "text/plain"}], "There are: / and /status\n"}
    end.

%% The words that are EMQX's here are those its users match against.
status(Query, ClusterName) ->
    Wanted = [Field || Text <- Query, Field <- binary:split(Text, <<"&">>, [global])],
    {Type, Body} = case lists:member(<<"format=json">>, Wanted) of
        true -> {"application/json", json_status(ClusterName)};
        false -> {"text/plain", ["Node ", atom_to_binary(node()), " is started\nemqx is running"]}
    end,
    {200, [{"content-type", Type}, {"retry-after", "15"}], Body}.

json_status(ClusterName) ->
    embedded_node_json:encode(#{
        <<"node_name">> => atom_to_binary(node()),
        <<"cluster">> => ClusterName,
        <<"rel_vsn">> => maps:get(<<"version">>, about()),
        <<"broker_status">> => <<"started">>,
        <<"app_status">> => <<"running">>}).

page() ->
    #{<<"product">> := Product, <<"version">> := Version, <<"otp_release">> := Otp,
      <<"node">> := Node} = about(),
    ["<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
     "<title>", Product, "</title></head>\n<body>\n",
     "<h1>This is an ", Product, ", not EMQX</h1>\n",
     "<p>Node ", escaped(Node), ", version ", Version, ", on Erlang/OTP ", Otp,
     ". It has no Dashboard; <a href=\"/status\">/status</a> says whether it runs.</p>\n",
     "</body></html>\n"].

about() ->
    maps:from_list(embedded_node_identity:properties()).

escaped(Text) ->
    string:replace(string:replace(Text, "&", "&amp;", all), "<", "&lt;", all).
