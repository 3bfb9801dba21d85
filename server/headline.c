#include "server/headline.h"

#include <string.h>

#include "protocol/header.h"
#include "server/log.h"

void headline_append(GString *out, const char *text, size_t length, size_t max)
{
    /* A character has at most 6 octets: what is beyond need not be copied. */
    g_autofree char *copy = g_strndup(text, MIN(length, (max + 1) * 6));
    char *end = copy;

    for (char *p = copy; *p != '\0'; p++)
        if (*p == '\t' || *p == '\r' || *p == '\n')
            *p = ' ';
    log_clean(copy);
    for (size_t i = 0; i < max && *end != '\0'; i++)
        end = g_utf8_next_char(end);
    g_string_append_len(out, copy, end - copy);
    if (*end != '\0')
        g_string_append(out, "...");
}

static bool is_named(const struct header_field *field, const char *name)
{
    return field->name != NULL && field->name_length == strlen(name) &&
           g_ascii_strncasecmp(field->name, name, field->name_length) == 0;
}

/* The first of these counts. */
static void take(char **text, const struct header_field *field)
{
    g_autoptr(GString) decoded = NULL;
    g_autoptr(GString) clean = NULL;

    if (*text != NULL)
        return;
    decoded = g_string_new(NULL);
    clean = g_string_new(NULL);
    header_decode(decoded, field->value, field->value_length);
    headline_append(clean, decoded->str, decoded->len, HEADLINE_MAX);
    *text = g_string_free(g_steal_pointer(&clean), FALSE);
}

void headline_read(struct headline *out, const uint8_t *data, size_t length)
{
    size_t block = header_block_length(data, length);
    struct header_field field;
    size_t position = 0;

    *out = (struct headline){0};
    while (header_next(data, block, &position, &field)) {
        if (is_named(&field, "Subject"))
            take(&out->subject, &field);
        else if (is_named(&field, "From"))
            take(&out->from, &field);
    }
    if (out->subject == NULL)
        out->subject = g_strdup("");
    if (out->from == NULL)
        out->from = g_strdup("");
}

void headline_release(struct headline *headline)
{
    g_free(headline->subject);
    g_free(headline->from);
    *headline = (struct headline){0};
}
