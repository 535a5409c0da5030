%% The version names the node in CONNACK and in the status answer.
{application, embedded_node, [
    {description, "A small MQTT broker on Erlang/OTP's TLS; not EMQX"},
    {vsn, "0.1.0"},
    {modules, [
        embedded_node, embedded_node_acceptor, embedded_node_acceptor_sup,
        embedded_node_client, embedded_node_client_sup, embedded_node_clients,
        embedded_node_config, embedded_node_connection, embedded_node_connection_sup,
        embedded_node_control, embedded_node_ctl, embedded_node_dashboard, embedded_node_frame,
        embedded_node_identity, embedded_node_json, embedded_node_listener,
        embedded_node_listener_sup, embedded_node_peers, embedded_node_proxy,
        embedded_node_router, embedded_node_server, embedded_node_session, embedded_node_stats,
        embedded_node_sup, embedded_node_tls, embedded_node_topic, embedded_node_users
    ]},
    {registered, [embedded_node_sup, embedded_node_router, embedded_node_peers,
                  embedded_node_client_sup, embedded_node_clients, embedded_node_control,
                  embedded_node_ctl, embedded_node_dashboard]},
    {applications, [kernel, stdlib, crypto, public_key, ssl]},
    {mod, {embedded_node, []}}
]}.
