#include "store/internal/findings.h"

#include <glib.h>
#include <stdarg.h>

#include "store/internal/text.h"

enum { FINDING_MAX = 400 }; /* octets of one line */

void findings_add(struct findings *findings, const char *format, ...)
{
    g_autoptr(GString) raw = g_string_new(NULL);
    g_autoptr(GString) line = g_string_new(NULL);
    va_list arguments;

    va_start(arguments, format);
    g_string_vprintf(raw, format, arguments);
    va_end(arguments);
    text_append_harmless(line, raw->str, raw->len, FINDING_MAX);
    findings->count++;
    findings->report(line->str, findings->data);
}
