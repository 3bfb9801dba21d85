/* Which change brought a message, and which last touched it: found by MODSEQ and UIDNEXT, which
 * rise along the first parents, so that few of the states between are read. */
#include "store/internal/commit.h"
#include "store/internal/history_private.h"

/* A commit of the chain; what its tree says is read when it is first asked for. */
struct link {
    struct object_id commit;
    struct object_id tree;
    uint64_t modseq; /* 0: not read yet */
    uint32_t uid_next;
};

struct blame {
    struct history *history;
    GArray *chain; /* struct link, the newest first */
    bool cut;      /* there was something before the last of them */
    history_blame_visit visit;
    void *data;
    const struct observer *observer;
    int rc;
    struct store_error *error;
};

static const struct link *link_at(struct blame *blame, guint index)
{
    struct link *link = &g_array_index(blame->chain, struct link, index);
    struct history_root *root;

    if (link->modseq == 0 && blame->rc == 0) {
        blame->rc = history_root_load(&root, blame->history, &link->tree, blame->error);
        if (blame->rc == 0) {
            link->modseq = root->properties.highest_modseq;
            link->uid_next = root->properties.uid_next;
            history_root_unref(root);
        }
    }
    return link;
}

/* Each change raises the newest MODSEQ by one, so that says about how many there are. */
static int tell(struct blame *blame)
{
    guint done = blame->chain->len;

    if (blame->observer == NULL) {
        return 0;
    }
    uint64_t about = link_at(blame, 0)->modseq;

    return blame->rc < 0 ? blame->rc
                         : observer_tell(blame->observer, OBSERVER_CHANGES, done, MAX(done, about),
                                         blame->error);
}

static int read_chain(struct blame *blame, const struct object_id *tip)
{
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    struct link next = {.commit = *tip};
    int rc = 0;

    for (bool more = true; rc == 0 && more;) {
        struct object_data data;
        struct commit commit;

        rc = history_read_commit(blame->history, &next.commit, &data, blame->error);
        if (rc < 0) {
            return rc;
        }
        rc = commit_decode(&commit, data.data, data.length, blame->error);
        if (rc == 0) {
            rc = history_read_parents(blame->history, &next.commit, &data, parents, &blame->cut,
                                      blame->error);
        }
        object_data_release(&data);
        if (rc == 0) {
            next.tree = commit.tree;
            g_array_append_val(blame->chain, next);
            more = parents->len > 0;
            rc = tell(blame);
        }
        if (rc == 0 && more) {
            next.commit = g_array_index(parents, struct object_id, 0);
        }
    }
    return rc;
}

static bool reaches_modseq(const struct link *link, uint64_t modseq)
{
    return link->modseq >= modseq;
}

static bool reaches_uid(const struct link *link, uint64_t uid)
{
    return link->uid_next > uid;
}

/* The oldest commit that has come so far. */
static guint first_to_reach(struct blame *blame, bool (*reaches)(const struct link *, uint64_t),
                            uint64_t mark)
{
    guint low = 0; /* reaches it */
    guint high = blame->chain->len;

    while (high - low > 1 && blame->rc == 0) {
        guint middle = low + (high - low) / 2;

        if (reaches(link_at(blame, middle), mark)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static int blame_one(const struct history_change *change, void *data)
{
    struct blame *blame = data;
    guint changed = first_to_reach(blame, reaches_modseq, change->after->modseq);
    guint arrived = first_to_reach(blame, reaches_uid, change->after->uid);
    guint oldest = blame->chain->len - 1;
    struct history_blame found = {
        .message = change->after,
        .flags = change->flags_after,
        .changed = g_array_index(blame->chain, struct link, changed).commit,
        .arrived = g_array_index(blame->chain, struct link, arrived).commit,
        .changed_before = blame->cut && changed == oldest &&
                          link_at(blame, oldest)->modseq > change->after->modseq,
        .arrived_before = blame->cut && arrived == oldest,
    };

    return blame->rc < 0 ? 1 : blame->visit(&found, blame->data);
}

int history_blame(struct history *history, const struct object_id *commit, const GArray *ranges,
                  history_blame_visit visit, void *data, const struct observer *observer,
                  struct store_error *error)
{
    struct blame blame = {
        .history = history, .visit = visit, .data = data, .observer = observer, .error = error};
    int rc;

    blame.chain = g_array_new(FALSE, TRUE, sizeof(struct link));
    rc = read_chain(&blame, commit);
    if (rc == 0) {
        rc = history_diff(history, &(struct object_id){{0}}, commit, ranges, blame_one, &blame,
                          error);
    }
    g_array_unref(blame.chain);
    return rc < 0 ? rc : blame.rc;
}
