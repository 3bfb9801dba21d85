#include "protocol/base64.h"

#include <glib.h>

int base64_value(char c)
{
    if (g_ascii_isupper(c)) {
        return c - 'A';
    }
    if (g_ascii_islower(c)) {
        return c - 'a' + 26;
    }
    if (g_ascii_isdigit(c)) {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}
