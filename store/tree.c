#include "store/internal/tree.h"

#include <string.h>

static const char MODE_FILE[] = "100644 ";
static const char MODE_DIRECTORY[] = "40000 ";

static bool take_mode(struct tree_reader *reader, const char *mode)
{
    size_t length = strlen(mode);

    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, mode, length) != 0) {
        return false;
    }
    reader->at += length;
    return true;
}

enum tree_result tree_next(struct tree_reader *reader, struct tree_entry *entry)
{
    const uint8_t *name_end;

    if (reader->at == reader->end) {
        return TREE_END;
    }
    entry->directory = take_mode(reader, MODE_DIRECTORY);
    if (!entry->directory && !take_mode(reader, MODE_FILE)) {
        return TREE_BAD;
    }
    if (reader->at == reader->end) {
        return TREE_BAD;
    }
    name_end = memchr(reader->at, '\0', (size_t)(reader->end - reader->at));
    if (name_end == NULL || name_end == reader->at || reader->end - name_end - 1 < OBJECT_ID_SIZE) {
        return TREE_BAD;
    }
    entry->name = (const char *)reader->at;
    memcpy(entry->id.bytes, name_end + 1, OBJECT_ID_SIZE);
    reader->at = name_end + 1 + OBJECT_ID_SIZE;
    return TREE_ENTRY;
}

void tree_append(GByteArray *out, const char *name, bool directory, const struct object_id *id)
{
    const char *mode = directory ? MODE_DIRECTORY : MODE_FILE;
    size_t mode_length = strlen(mode);
    size_t name_length = strlen(name) + 1;
    guint start = out->len;

    g_byte_array_set_size(out, start + (guint)(mode_length + name_length) + OBJECT_ID_SIZE);
    guint8 *at = out->data + start;
    memcpy(at, mode, mode_length);
    memcpy(at + mode_length, name, name_length);
    memcpy(at + mode_length + name_length, id->bytes, OBJECT_ID_SIZE);
}

bool tree_pair(const char *name, unsigned *out)
{
    if (!g_ascii_isdigit(name[0]) || !g_ascii_isdigit(name[1]) || name[2] != '\0') {
        return false;
    }
    *out = (unsigned)(name[0] - '0') * 10 + (unsigned)(name[1] - '0');
    return true;
}

void tree_pair_format(char out[3], unsigned pair)
{
    out[0] = (char)('0' + pair / 10 % 10);
    out[1] = (char)('0' + pair % 10);
    out[2] = '\0';
}
