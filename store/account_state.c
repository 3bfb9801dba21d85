#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/tree.h"

typedef int (*state_decode)(struct account_state *state, const void *data, size_t length,
                            struct store_error *error);

static const struct {
    const char *name;
    state_decode decode;
} FILES[] = {
    {"account", account_file_decode},
    {"special-use", special_use_file_decode},
    {"subscriptions", subscriptions_file_decode},
};

static int read_file(struct account_state *state, struct objects *objects, size_t file,
                     const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    int rc = objects_read(objects, id, OBJECT_BLOB, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = FILES[file].decode(state, data.data, data.length, error);
    object_data_release(&data);
    return rc;
}

static int read_tree(struct account_state *state, struct objects *objects,
                     const struct object_id *tree, struct store_error *error)
{
    struct object_data data;
    struct tree_reader reader;
    struct tree_entry entry;
    int rc = objects_read(objects, tree, OBJECT_TREE, &data, error);

    if (rc < 0) {
        return rc;
    }
    reader = (struct tree_reader){data.data, data.data + data.length};
    for (size_t i = 0; rc == 0 && i < G_N_ELEMENTS(FILES); i++) {
        if (tree_next(&reader, &entry) != TREE_ENTRY || entry.directory ||
            strcmp(entry.name, FILES[i].name) != 0) {
            rc =
                store_error_set(error, STORE_CORRUPT, "the account's tree lacks %s", FILES[i].name);
        } else {
            rc = read_file(state, objects, i, &entry.id, error);
        }
    }
    if (rc == 0 && tree_next(&reader, &entry) != TREE_END) {
        rc = store_error_set(error, STORE_CORRUPT, "the account's tree has unknown files");
    }
    object_data_release(&data);
    return rc;
}

int account_state_load(struct account_state **out, struct objects *objects,
                       const struct object_id *commit, struct store_error *error)
{
    struct account_state *state;
    struct commit decoded;
    struct object_data data;
    int rc = objects_read(objects, commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&decoded, data.data, data.length, error);
    object_data_release(&data);
    if (rc < 0) {
        return rc;
    }
    state = account_state_new();
    rc = read_tree(state, objects, &decoded.tree, error);
    if (rc < 0) {
        account_state_free(state);
        return rc;
    }
    *out = state;
    return 0;
}

int account_state_refresh(struct account *account, struct store_error *error)
{
    struct account_state *state = NULL;
    struct object_id tip = {0};
    int rc = refs_read(account->refs, ACCOUNT_REF, &tip, error);

    if (rc < 0 && rc != STORE_NOT_FOUND) {
        return rc;
    }
    if (account->state != NULL && object_id_equal(&tip, &account->state_commit)) {
        return 0;
    }
    if (rc == STORE_NOT_FOUND) {
        state = account_state_new();
        memset(&tip, 0, sizeof(tip));
    } else {
        rc = account_state_load(&state, account->objects, &tip, error);
        if (rc < 0) {
            return rc == STORE_NOT_FOUND
                       ? store_error_set(error, STORE_CORRUPT, "the account's state is incomplete")
                       : rc;
        }
    }
    if (account->state != NULL) {
        state->uid_validity = MAX(state->uid_validity, account->state->uid_validity);
        account->list_version++;
    }
    account_state_free(account->state);
    account->state = state;
    account->state_commit = tip;
    return 0;
}

int account_next_uid_validity(const struct account *account, struct account_state *state,
                              uint32_t *out, struct store_error *error)
{
    int64_t seconds = account->host->now(account->host->data) / 1000000;

    if (state->uid_validity == UINT32_MAX) {
        return store_error_set(error, STORE_LIMIT, "no UIDVALIDITY is left");
    }
    state->uid_validity++;
    if (seconds > state->uid_validity && seconds <= UINT32_MAX) {
        state->uid_validity = (uint32_t)seconds;
    }
    *out = state->uid_validity;
    return 0;
}
