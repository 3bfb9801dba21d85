/* The digits of base64 (RFC 4648 4). */
#ifndef ANNAL_PROTOCOL_BASE64_H
#define ANNAL_PROTOCOL_BASE64_H

/* 0 to 63, or -1 for what is no digit. */
int base64_value(char c);

#endif
