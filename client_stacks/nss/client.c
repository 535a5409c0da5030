/* An MQTT 3.1.1 client as a first one on NSS, which resumes by itself. */
#include <cert.h>
#include <certdb.h>
#include <nss.h>
#include <prerror.h>
#include <prio.h>
#include <prnetdb.h>
#include <ssl.h>
#include <sslproto.h>
#include <stdio.h>
#include "../mqtt.h"

/* Send CONNECT and return the CONNACK's code; -1: there is none. */
static int mqtt(PRFileDesc *tls, const char *id)
{
    unsigned char packet[16400], answer[4];
    int got = 0, length = connect_packet(packet, id);
    if (length == 0 || PR_Write(tls, packet, length) != length)
        return -1;
    while (got < 4) {
        int more = PR_Read(tls, answer + got, 4 - got);
        if (more <= 0)
            return -1;
        got += more;
    }
    if (answer[0] != 0x20)
        return -1;
    PR_Write(tls, "\xe0\0", 2);
    return answer[3];
}

static PRFileDesc *connected(const char *host, const char *port, const char *name)
{
    PRNetAddr to;
    PRFileDesc *tcp = PR_OpenTCPSocket(PR_AF_INET), *tls;
    SSLVersionRange versions = {SSL_LIBRARY_VERSION_TLS_1_2, SSL_LIBRARY_VERSION_TLS_1_2};
    PR_InitializeNetAddr(PR_IpAddrNull, atoi(port), &to);
    PR_StringToNetAddr(host, &to);
    to.inet.port = PR_htons(atoi(port));
    if (PR_Connect(tcp, &to, PR_INTERVAL_NO_TIMEOUT) != PR_SUCCESS || !(tls = SSL_ImportFD(NULL, tcp))) {
        PR_Close(tcp);
        return NULL;
    }
    SSL_VersionRangeSet(tls, &versions);
    SSL_SetURL(tls, name);
    SSL_ResetHandshake(tls, PR_FALSE);
    if (SSL_ForceHandshake(tls) == SECSuccess)
        return tls;
    PRErrorCode why = PR_GetError();
    PR_Close(tls);
    PR_SetError(why, 0);
    return NULL;
}

static int trust(const char *file)
{
    static char pem[65536];
    CERTCertTrust ca = {CERTDB_TRUSTED_CA | CERTDB_VALID_CA, 0, 0};
    FILE *opened = fopen(file, "r");
    if (!opened)
        return 0;
    int length = fread(pem, 1, sizeof pem, opened);
    fclose(opened);
    CERTCertificate *found = CERT_DecodeCertFromPackage(pem, length);
    return found && CERT_ChangeCertTrust(CERT_GetDefaultCertDB(), found, &ca) == SECSuccess;
}

int main(int count, char **given)
{
    if (count != 8)
        return fprintf(stderr, "usage: client HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS\n"), 2;
    if (NSS_NoDB_Init(NULL) != SECSuccess || NSS_SetDomesticPolicy() != SECSuccess || !trust(given[3]))
        return fprintf(stderr, "the certificates cannot be read\n"), 2;
    for (int number = 1; number <= atoi(given[7]); number++) {
        SSLChannelInfo info = {0};
        int code = -1;
        PRFileDesc *tls = connected(given[1], given[2], given[4]);
        const char *why = tls ? "" : PR_ErrorToName(PR_GetError());
        if (tls) {
            code = mqtt(tls, given[6]);
            SSL_GetChannelInfo(tls, &info, sizeof info);
            PR_Close(tls);
        }
        printf("{\"connection\": %d, \"library\": \"NSS %s\", \"resumed\": %s, \"connack\": %d, \"error\": \"%s\"}\n",
               number, NSS_GetVersion(), info.resumed ? "true" : "false", code, why ? why : "");
        fflush(stdout);
    }
    return 0;
}
