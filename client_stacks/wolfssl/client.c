/* An MQTT 3.1.1 client as a device's first one on wolfSSL. It resumes by the lines under "if (told". */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../mqtt.h"

/* Send CONNECT and return the CONNACK's code; -1: there is none. */
static int mqtt(WOLFSSL *tls, const char *id)
{
    unsigned char packet[16400], answer[4];
    int got = 0, length = connect_packet(packet, id);
    if (length == 0 || wolfSSL_write(tls, packet, length) != length)
        return -1;
    while (got < 4) {
        int more = wolfSSL_read(tls, answer + got, 4 - got);
        if (more <= 0)
            return -1;
        got += more;
    }
    if (answer[0] != 0x20)
        return -1;
    wolfSSL_write(tls, "\xe0\0", 2);
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
    wolfSSL_Init();
    WOLFSSL_CTX *context = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
    WOLFSSL_SESSION *session = NULL;
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, NULL);
    if (wolfSSL_CTX_load_verify_locations(context, given[3], NULL) != WOLFSSL_SUCCESS
        || (cert && (wolfSSL_CTX_use_certificate_chain_file(context, cert) != WOLFSSL_SUCCESS
                     || wolfSSL_CTX_use_PrivateKey_file(context, key, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)))
        return fprintf(stderr, "the certificates cannot be read\n"), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        int code = -1, reused = 0, made = tcp(given[1], given[2]), done;
        char why[WOLFSSL_MAX_ERROR_SZ] = "";
        WOLFSSL *tls = wolfSSL_new(context);
        wolfSSL_check_domain_name(tls, given[4]);
        if (is_name)
            wolfSSL_UseSNI(tls, WOLFSSL_SNI_HOST_NAME, given[4], strlen(given[4]));
        if (told && session)
            wolfSSL_set_session(tls, session);
        wolfSSL_set_fd(tls, made);
        done = wolfSSL_connect(tls);
        if (done == WOLFSSL_SUCCESS) {
            reused = wolfSSL_session_reused(tls);
            code = mqtt(tls, given[6]);
            if (told) {
                wolfSSL_SESSION_free(session);
                session = wolfSSL_get1_session(tls);
            }
            wolfSSL_shutdown(tls);
        } else
            wolfSSL_ERR_error_string(wolfSSL_get_error(tls, done), why);
        printf("{\"connection\": %d, \"library\": \"wolfSSL %s\", \"resumed\": %s, \"connack\": %d, \"error\": \"%s\"}\n",
               number, wolfSSL_lib_version(), reused ? "true" : "false", code, why);
        fflush(stdout);
        wolfSSL_free(tls);
        close(made);
    }
    return 0;
}
