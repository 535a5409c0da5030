/* An MQTT 3.1.1 client as a device's first one on GnuTLS. It resumes by the lines under "if (told". */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../mqtt.h"

/* Send CONNECT and return the CONNACK's code; -1: there is none. */
static int mqtt(gnutls_session_t tls, const char *id)
{
    unsigned char packet[16400], answer[4];
    int got = 0, length = connect_packet(packet, id);
    if (length == 0 || gnutls_record_send(tls, packet, length) != length)
        return -1;
    while (got < 4) {
        int more = gnutls_record_recv(tls, answer + got, 4 - got);
        if (more <= 0)
            return -1;
        got += more;
    }
    if (answer[0] != 0x20)
        return -1;
    gnutls_record_send(tls, "\xe0\0", 2);
    return answer[3];
}

static int tcp(const char *host, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, host, &to.sin_addr);
    return connect(made, (struct sockaddr *)&to, sizeof to) == 0 ? made : -1;
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    int told = !strcmp(given[5], "told");
    const char *cert = getenv("CLIENT_CERT"), *key = getenv("CLIENT_KEY");
    struct in6_addr address;
    int is_name = inet_pton(AF_INET, given[4], &address) != 1 && inet_pton(AF_INET6, given[4], &address) != 1;
    gnutls_certificate_credentials_t trust;
    gnutls_datum_t session = {NULL, 0};
    gnutls_certificate_allocate_credentials(&trust);
    if (gnutls_certificate_set_x509_trust_file(trust, given[3], GNUTLS_X509_FMT_PEM) < 1
        || (cert && gnutls_certificate_set_x509_key_file(trust, cert, key, GNUTLS_X509_FMT_PEM) < 0))
        return fprintf(stderr, "the certificates cannot be read\n"), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        int code = -1, reused = 0, made = tcp(given[1], given[2]), why;
        gnutls_session_t tls;
        gnutls_init(&tls, GNUTLS_CLIENT);
        gnutls_priority_set_direct(tls, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL);
        gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, trust);
        gnutls_session_set_verify_cert(tls, given[4], 0);
        if (is_name)
            gnutls_server_name_set(tls, GNUTLS_NAME_DNS, given[4], strlen(given[4]));
        if (told && session.size)
            gnutls_session_set_data(tls, session.data, session.size);
        gnutls_transport_set_int(tls, made);
        do
            why = gnutls_handshake(tls);
        while (why < 0 && !gnutls_error_is_fatal(why));
        if (why == 0) {
            reused = gnutls_session_is_resumed(tls);
            code = mqtt(tls, given[6]);
            if (told) {
                gnutls_free(session.data);
                gnutls_session_get_data2(tls, &session);
            }
            gnutls_bye(tls, GNUTLS_SHUT_WR);
        }
        printf("{\"connection\": %d, \"library\": \"GnuTLS %s\", \"resumed\": %s, \"connack\": %d, \"error\": \"%s\"}\n",
               number, gnutls_check_version(NULL), reused ? "true" : "false", code, why ? gnutls_strerror(why) : "");
        fflush(stdout);
        gnutls_deinit(tls);
        close(made);
    }
    return 0;
}
