-module(embedded_node_connection_tests).
-include("check.hrl").

%% What a crash report would show: the password is in the bytes that were read.
nothing_of_the_client_in_crash_reports_test() ->
    Bytes = <<"secret">>,
    Status = #{state => {state, Bytes}, message => {ssl, socket, Bytes}, log => [Bytes],
               reason => {badmatch, []}},
    ?assertEqual(#{state => hidden, message => hidden, log => [], reason => {badmatch, []}},
                 embedded_node_connection:format_status(Status)).
