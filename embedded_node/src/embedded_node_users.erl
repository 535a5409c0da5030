%% @doc Who may connect. Passwords are kept as salted PBKDF2-HMAC-SHA-256 only.
-module(embedded_node_users).

-export([may_connect/2]).
-export_type([users/0]).

%% Salt and hash in hexadecimal.
-type user() :: #{username := binary(), salt := binary(), hash := binary(),
                  iterations := pos_integer()}.
-type users() :: [user()] | none.

%% @doc Whether these credentials are right; `none' lets everybody in.
-spec may_connect(embedded_node_frame:connect(), users()) -> boolean().
may_connect(_Connect, none) ->
    true;
may_connect(#{username := Name, password := Password}, Users) when is_function(Password, 0) ->
    lists:any(
        fun(#{username := Known} = User) -> Known =:= Name andalso is_right(Password, User) end,
        Users);
may_connect(_NoPassword, _Users) ->
    false.

is_right(Password, #{salt := Salt, hash := Hash, iterations := Iterations}) ->
    Known = binary:decode_hex(Hash),
    Given = crypto:pbkdf2_hmac(sha256, Password(), binary:decode_hex(Salt), Iterations,
                               byte_size(Known)),
    crypto:hash_equals(Known, Given).
