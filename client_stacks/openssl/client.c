/* An MQTT 3.1.1 client as a device's first one on OpenSSL. It resumes by the lines under "if (told". */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include "../mqtt.h"

/* Send CONNECT and return the CONNACK's code; -1: there is none. */
static int mqtt(SSL *ssl, const char *id)
{
    unsigned char packet[16400], answer[4];
    int got = 0, length = connect_packet(packet, id);
    if (length == 0 || SSL_write(ssl, packet, length) != length)
        return -1;
    while (got < 4) {
        int more = SSL_read(ssl, answer + got, 4 - got);
        if (more <= 0)
            return -1;
        got += more;
    }
    if (answer[0] != 0x20)
        return -1;
    SSL_write(ssl, "\xe0\0", 2);
    return answer[3];
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    int told = !strcmp(given[5], "told");
    const char *cert = getenv("CLIENT_CERT"), *key = getenv("CLIENT_KEY");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL;
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, given[3], NULL) != 1
        || (cert && (SSL_CTX_use_certificate_chain_file(context, cert) != 1
                     || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)))
        return ERR_print_errors_fp(stderr), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        BIO *tcp = BIO_new_connect(given[1]);
        SSL *ssl = SSL_new(context);
        int code = -1, reused = 0;
        BIO_set_conn_port(tcp, given[2]);
        if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), given[4])) {
            SSL_set_tlsext_host_name(ssl, given[4]);
            SSL_set1_host(ssl, given[4]);
        }
        if (told && session)
            SSL_set_session(ssl, session);
        SSL_set_bio(ssl, tcp, tcp);
        if (SSL_connect(ssl) == 1) {
            reused = SSL_session_reused(ssl);
            code = mqtt(ssl, given[6]);
            if (told) {
                SSL_SESSION_free(session);
                session = SSL_get1_session(ssl);
            }
            SSL_shutdown(ssl);
        }
        const char *why = code < 0 ? ERR_reason_error_string(ERR_get_error()) : NULL;
        printf("{\"connection\": %d, \"library\": \"%s\", \"resumed\": %s, \"connack\": %d, \"error\": \"%s\"}\n",
               number, OpenSSL_version(OPENSSL_VERSION), reused ? "true" : "false", code, why ? why : "");
        fflush(stdout);
        ERR_clear_error();
        SSL_free(ssl);
    }
    return 0;
}
