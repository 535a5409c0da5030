%% @doc A message on its way to subscribers, which may take long when they are away.
-module(embedded_node_message).

-export([new/2, has_expired/2, aged/2]).
-export_type([message/0]).

-type message() :: #{
    topic := binary(),
    payload := binary(),
    qos := 0..1,
    properties := embedded_node_frame:properties(),
    published := Milliseconds :: integer()
}.

%% @doc A message that a client publishes now (system time in milliseconds).
-spec new(map(), integer()) -> message().
new(#{topic := Topic, payload := Payload, qos := Qos, properties := Properties}, Now) ->
    #{topic => Topic, payload => Payload, qos => min(Qos, 1), properties => Properties,
      published => Now}.

%% @doc Whether it must not be delivered any more (5.0, 3.3.2.3.3).
-spec has_expired(message(), integer()) -> boolean().
has_expired(Message, Now) ->
    left(Message, Now) < 0.

%% @doc The message with what is left of its Message Expiry Interval (5.0, 3.3.2.3.3).
-spec aged(message(), integer()) -> message().
aged(#{properties := #{message_expiry := _} = Properties} = Message, Now) ->
    Seconds = (max(left(Message, Now), 0) + 999) div 1000,
    Message#{properties := Properties#{message_expiry := Seconds}};
aged(Message, _Now) ->
    Message.

%% infinity, an atom, is greater than any number.
left(#{properties := #{message_expiry := Seconds}, published := Then}, Now) ->
    Seconds * 1000 - max(Now - Then, 0);
left(_Message, _Now) ->
    infinity.
