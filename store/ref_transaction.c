/* The transaction file's text (refs_commit.c says when there is one):
 *
 *   annal-transaction 1
 *   refs/heads/INBOX BEFORE AFTER     40 digits each; zeros: does not exist
 *   end CRC                           CRC-32 of all lines before, 8 digits
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/internal/checksum.h"
#include "store/internal/refs_private.h"

#define TRANSACTION_HEADER "annal-transaction 1\n"

enum { CRC_LINE = 13 }; /* "end XXXXXXXX\n" */

static void change_clear(void *data)
{
    struct ref_change *change = data;

    g_free(change->name);
}

GArray *ref_changes_new(void)
{
    GArray *changes = g_array_new(FALSE, FALSE, sizeof(struct ref_change));

    g_array_set_clear_func(changes, change_clear);
    return changes;
}

void ref_changes_add(GArray *changes, const char *name, size_t name_length,
                     const struct object_id *before, const struct object_id *after)
{
    struct ref_change change = {g_strndup(name, name_length), *before, *after};

    g_array_append_val(changes, change);
}

GString *ref_transaction_text(const struct ref_update *updates, size_t count)
{
    GString *text = g_string_new(TRANSACTION_HEADER);

    for (size_t i = 0; i < count; i++) {
        char before[OBJECT_ID_HEX + 1];
        char after[OBJECT_ID_HEX + 1];

        object_id_format(&updates[i].before, before);
        object_id_format(&updates[i].after, after);
        g_string_append_printf(text, "%s %s %s\n", updates[i].name, before, after);
    }
    uint32_t crc = crc32_of(text->str, text->len);
    g_string_append_printf(text, "end %08" PRIx32 "\n", crc);
    return text;
}

static bool parse_id(const char *text, struct object_id *out)
{
    char hex[OBJECT_ID_HEX + 1] = "";

    memcpy(hex, text, OBJECT_ID_HEX);
    return memchr(hex, '\0', OBJECT_ID_HEX) == NULL && object_id_parse(out, hex);
}

static bool parse_line(GArray *changes, const char *line, size_t length)
{
    enum { IDS = 2 * (1 + OBJECT_ID_HEX) };
    struct object_id before;
    struct object_id after;

    if (length <= IDS || !ref_name_valid(line, length - IDS)) {
        return false;
    }
    const char *ids = line + length - IDS;
    if (ids[0] != ' ' || ids[1 + OBJECT_ID_HEX] != ' ' || !parse_id(ids + 1, &before) ||
        !parse_id(ids + 2 + OBJECT_ID_HEX, &after)) {
        return false;
    }
    ref_changes_add(changes, line, length - IDS, &before, &after);
    return true;
}

static bool crc_matches(const char *text, size_t length)
{
    char line[CRC_LINE + 1];

    snprintf(line, sizeof(line), "end %08" PRIx32 "\n", crc32_of(text, length));
    return memcmp(line, text + length, CRC_LINE) == 0;
}

GArray *ref_transaction_parse(const char *text, size_t length)
{
    size_t header = strlen(TRANSACTION_HEADER);

    if (length < header + CRC_LINE || memcmp(text, TRANSACTION_HEADER, header) != 0 ||
        !crc_matches(text, length - CRC_LINE)) {
        return NULL;
    }
    GArray *changes = ref_changes_new();
    const char *end = text + length - CRC_LINE;
    const char *line = text + header;
    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));

        if (stop == NULL || !parse_line(changes, line, (size_t)(stop - line))) {
            g_array_free(changes, TRUE);
            return NULL;
        }
        line = stop + 1;
    }
    return changes;
}
