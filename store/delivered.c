#include "store/delivered.h"

#include <glib.h>
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/sha1.h"
#include "store/internal/text.h"

struct delivered_sum {
    struct sha1 sha1;
};

struct delivered_sum *delivered_sum_new(void)
{
    struct delivered_sum *sum = g_new0(struct delivered_sum, 1);

    sha1_init(&sum->sha1);
    return sum;
}

void delivered_sum_free(struct delivered_sum *sum)
{
    g_free(sum);
}

void delivered_sum_add(struct delivered_sum *sum, const void *octets, size_t length)
{
    sha1_update(&sum->sha1, octets, length);
}

/* A sum over the sum, so that sender and message can't be mistaken for each other. */
void delivered_sum_id(const struct delivered_sum *sum, const char *sender, struct object_id *out)
{
    uint8_t inner[OBJECT_ID_SIZE];
    struct sha1 outer;

    sha1_sum(&sum->sha1, inner);
    sha1_init(&outer);
    sha1_update(&outer, inner, sizeof(inner));
    sha1_update(&outer, sender, strlen(sender));
    sha1_sum(&outer, out->bytes);
}

static bool read_id(const struct commit *commit, struct object_id *out)
{
    struct text text = {commit->message, commit->message + commit->message_length};
    struct text line;
    char hex[OBJECT_ID_HEX + 1];

    while (text_line(&text, &line)) {
        if (!text_word(&line, "Delivery: ") || line.end - line.at != OBJECT_ID_HEX) {
            continue;
        }
        memcpy(hex, line.at, OBJECT_ID_HEX);
        hex[OBJECT_ID_HEX] = '\0';
        return object_id_parse(out, hex);
    }
    return false;
}

int delivered_walk(struct mailbox *mailbox, int64_t since, delivered_visit visit, void *data,
                   struct store_error *error)
{
    struct object_id next = *snapshot_commit(mailbox_snapshot(mailbox));

    for (unsigned i = 0; i < DELIVERED_COMMITS_MAX && !object_id_is_zero(&next); i++) {
        struct object_data object;
        struct object_id id;
        struct commit commit;
        int rc = objects_read(mailbox->account->objects, &next, OBJECT_COMMIT, &object, error);

        if (rc == STORE_NOT_FOUND) {
            return 0;
        }
        if (rc < 0) {
            return rc;
        }
        rc = commit_decode(&commit, object.data, object.length, error);
        if (rc == 0 && commit.time >= since && read_id(&commit, &id)) {
            visit(data, &id, commit.time);
        }
        next = commit.parent;
        object_data_release(&object);
        if (rc < 0 || commit.time < since) {
            return rc;
        }
    }
    return 0;
}
