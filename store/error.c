#include "store/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int store_error_set(struct store_error *error, enum store_code code, const char *format, ...)
{
    va_list arguments;

    error->code = code;
    va_start(arguments, format);
    vsnprintf(error->detail, sizeof(error->detail), format, arguments);
    va_end(arguments);
    for (char *c = error->detail; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return code;
}

const char *store_code_name(enum store_code code)
{
    switch (code) {
    case STORE_OK:
        return "ok";
    case STORE_NOT_FOUND:
        return "not found";
    case STORE_EXISTS:
        return "exists";
    case STORE_BAD_NAME:
        return "bad name";
    case STORE_FORBIDDEN:
        return "forbidden";
    case STORE_HAS_CHILDREN:
        return "has children";
    case STORE_LIMIT:
        return "limit";
    case STORE_TOO_BIG:
        return "too big";
    case STORE_BAD_MESSAGE:
        return "bad message";
    case STORE_CONFLICT:
        return "conflict";
    case STORE_CORRUPT:
        return "corrupt";
    case STORE_UNSUPPORTED:
        return "unsupported";
    case STORE_NO_SPACE:
        return "no space";
    case STORE_NO_MEMORY:
        return "no memory";
    case STORE_IO:
        return "input/output";
    }
    return "unknown";
}
