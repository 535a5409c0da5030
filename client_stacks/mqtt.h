/* CONNECT and CONNACK of MQTT 3.1.1 for the clients in C. */
#include <stdlib.h>
#include <string.h>

static unsigned char *put(unsigned char *at, const char *text)
{
    size_t length = strlen(text);
    *at++ = length >> 8;
    *at++ = length & 0xff;
    memcpy(at, text, length);
    return at + length;
}

/* Write a CONNECT (MQTT 3.1.1, 3.1) into 16400 bytes and return its length; 0: it would be too long. */
static int connect_packet(unsigned char *packet, const char *id)
{
    const char *user = getenv("MQTT_USERNAME"), *password = getenv("MQTT_PASSWORD");
    unsigned char body[16384], *at = put(body, "MQTT");
    if (strlen(id) + strlen(user ? user : "") + strlen(password ? password : "") > 16000)
        return 0;
    memcpy(at, "\4\2\0\74", 4); /* level 4, clean session, 60 s */
    at[1] |= (user ? 0x80 : 0) | (password ? 0x40 : 0);
    at = put(at + 4, id);
    at = user ? put(at, user) : at;
    at = password ? put(at, password) : at;
    int length = at - body, head = 0;
    packet[head++] = 0x10;
    if (length > 127)
        packet[head++] = (length & 0x7f) | 0x80;
    packet[head++] = length > 127 ? length >> 7 : length;
    memcpy(packet + head, body, length);
    return head + length;
}
