/* An MQTT 3.1.1 client as a device's first one on libmosquitto, which has no option that makes it resume. */
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    int code, gone;
};

static void on_connect(struct mosquitto *client, void *given, int code)
{
    ((struct seen *)given)->code = code;
    mosquitto_disconnect(client);
}

static void on_disconnect(struct mosquitto *client, void *given, int why)
{
    (void)client, (void)why;
    ((struct seen *)given)->gone = 1;
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    const char *host = given[1], *name = given[4];
    int major, minor, revision, is_named = strcmp(host, name) && strcmp(name, "localhost");
    struct seen seen;
    mosquitto_lib_init();
    mosquitto_lib_version(&major, &minor, &revision);
    struct mosquitto *client = mosquitto_new(given[6], true, &seen);
    if (!client || mosquitto_tls_set(client, given[3], NULL, getenv("CLIENT_CERT"), getenv("CLIENT_KEY"), NULL))
        return fprintf(stderr, "the certificates cannot be read\n"), 2;
    mosquitto_tls_opts_set(client, 1, "tlsv1.2", NULL);
    mosquitto_username_pw_set(client, getenv("MQTT_USERNAME"), getenv("MQTT_PASSWORD"));
    /* It verifies the name that it connects to, and cannot be told another. */
    mosquitto_tls_insecure_set(client, is_named);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_disconnect_callback_set(client, on_disconnect);
    for (int number = 1; number <= atoi(given[7]); number++) {
        seen = (struct seen){.code = -1};
        int why = mosquitto_connect(client, is_named ? host : name, atoi(given[2]), 60);
        while (!why && !seen.gone)
            why = mosquitto_loop(client, 1000, 1);
        why = seen.code < 0 ? why : 0;
        printf("{\"connection\": %d, \"library\": \"libmosquitto %d.%d.%d\", \"resumed\": null, \"connack\": %d, "
               "\"error\": \"%s\"}\n", number, major, minor, revision, seen.code, why ? mosquitto_strerror(why) : "");
        fflush(stdout);
    }
    mosquitto_destroy(client);
    return 0;
}
