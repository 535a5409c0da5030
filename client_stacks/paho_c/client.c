/* An MQTT 3.1.1 client as a device's first one on Paho C, which has no option that makes it resume. */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *version(void)
{
    for (MQTTClient_nameValue *one = MQTTClient_getVersionInfo(); one->name; one++)
        if (!strcmp(one->name, "Version"))
            return one->value;
    return "";
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    const char *host = given[1], *name = given[4];
    int is_named = strcmp(host, name) && strcmp(name, "localhost");
    char where[300];
    MQTTClient_init_options once = MQTTClient_init_options_initializer;
    MQTTClient_connectOptions how = MQTTClient_connectOptions_initializer;
    MQTTClient_SSLOptions tls = MQTTClient_SSLOptions_initializer;
    MQTTClient client;
    once.do_openssl_init = 1;
    MQTTClient_global_init(&once);
    tls.trustStore = given[3];
    tls.keyStore = getenv("CLIENT_CERT");
    tls.privateKey = getenv("CLIENT_KEY");
    tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
    tls.verify = !is_named; /* the name that it connects to; it cannot be told another */
    how.ssl = &tls;
    how.MQTTVersion = MQTTVERSION_3_1_1;
    how.username = getenv("MQTT_USERNAME");
    how.password = getenv("MQTT_PASSWORD");
    snprintf(where, sizeof where, "ssl://%s:%s", is_named ? host : name, given[2]);
    if (MQTTClient_create(&client, where, given[6], MQTTCLIENT_PERSISTENCE_NONE, NULL))
        return fprintf(stderr, "the client cannot be made\n"), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        /* Above 0 it is the CONNACK's code, below it is an error. */
        int code = MQTTClient_connect(client, &how);
        if (code == 0)
            MQTTClient_disconnect(client, 1000);
        printf("{\"connection\": %d, \"library\": \"Paho C %s\", \"resumed\": null, \"connack\": %d, \"error\": \"%s\"}\n",
               number, version(), code < 0 ? -1 : code, code < 0 ? MQTTClient_strerror(code) : "");
        fflush(stdout);
    }
    MQTTClient_destroy(&client);
    return 0;
}
