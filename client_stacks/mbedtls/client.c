/* An MQTT 3.1.1 client as a device's first one on Mbed TLS. It resumes by the lines under "if (told". */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include "../mqtt.h"

/* Send CONNECT and return the CONNACK's code; -1: there is none. */
static int mqtt(mbedtls_ssl_context *tls, const char *id)
{
    unsigned char packet[16400], answer[4];
    int got = 0, sent = 0, length = connect_packet(packet, id);
    while (sent < length) {
        int more = mbedtls_ssl_write(tls, packet + sent, length - sent);
        if (more <= 0)
            return -1;
        sent += more;
    }
    while (length && got < 4) {
        int more = mbedtls_ssl_read(tls, answer + got, 4 - got);
        if (more <= 0)
            return -1;
        got += more;
    }
    if (length == 0 || answer[0] != 0x20)
        return -1;
    mbedtls_ssl_write(tls, (const unsigned char *)"\xe0\0", 2);
    return answer[3];
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    int told = !strcmp(given[5], "told"), has_session = 0;
    const char *cert = getenv("CLIENT_CERT"), *key = getenv("CLIENT_KEY");
    char version[32], why[128];
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt ca, own;
    mbedtls_pk_context own_key;
    mbedtls_ssl_config config;
    mbedtls_ssl_session session;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&ca);
    mbedtls_x509_crt_init(&own);
    mbedtls_pk_init(&own_key);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_session_init(&session);
    mbedtls_version_get_string_full(version);
    mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
    mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_max_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
    if (mbedtls_x509_crt_parse_file(&ca, given[3]) < 0
        || (cert && (mbedtls_x509_crt_parse_file(&own, cert) != 0
                     || mbedtls_pk_parse_keyfile(&own_key, key, NULL) != 0
                     || mbedtls_ssl_conf_own_cert(&config, &own, &own_key) != 0)))
        return fprintf(stderr, "the certificates cannot be read\n"), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        int code = -1, failed;
        mbedtls_net_context tcp;
        mbedtls_ssl_context tls;
        mbedtls_net_init(&tcp);
        mbedtls_ssl_init(&tls);
        mbedtls_ssl_setup(&tls, &config);
        mbedtls_ssl_set_hostname(&tls, given[4]);
        mbedtls_ssl_set_bio(&tls, &tcp, mbedtls_net_send, mbedtls_net_recv, NULL);
        if (told && has_session)
            mbedtls_ssl_set_session(&tls, &session);
        failed = mbedtls_net_connect(&tcp, given[1], given[2], MBEDTLS_NET_PROTO_TCP);
        if (!failed && !(failed = mbedtls_ssl_handshake(&tls))) {
            code = mqtt(&tls, given[6]);
            if (told) {
                mbedtls_ssl_session_free(&session);
                has_session = mbedtls_ssl_get_session(&tls, &session) == 0;
            }
            mbedtls_ssl_close_notify(&tls);
        }
        mbedtls_strerror(failed, why, sizeof why);
        /* The library does not tell whether it resumed. */
        printf("{\"connection\": %d, \"library\": \"%s\", \"resumed\": null, \"connack\": %d, \"error\": \"%s\"}\n",
               number, version, code, failed ? why : "");
        fflush(stdout);
        mbedtls_ssl_free(&tls);
        mbedtls_net_free(&tcp);
    }
    return 0;
}
