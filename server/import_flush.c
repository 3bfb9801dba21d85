/* What waits goes into the account: mailboxes are made, messages added and flags changed, in as few
 * steps as can be. */
#include "server/import_target_private.h"
#include "server/message_summary.h"

enum { DISPLACED_MAX = 1000 }; /* messages of a mailbox; they wait in memory */

static int open_or_create(struct import_target *target, const char *name, struct mailbox **out,
                          struct store_error *error)
{
    struct origin origin = import_origin(IMPORT_COMMAND);
    int result = account_open_mailbox(target->account, name, out, error);

    if (result == STORE_NOT_FOUND) {
        result = account_create_mailbox(target->account, name, SPECIAL_USE_NONE, &origin, error);
        if (result == 0)
            result = account_open_mailbox(target->account, name, out, error);
    }
    return result;
}

/* --- mailboxes that are made --- */

static void give_up_uids(struct import_place *place)
{
    place->uid_validity = 0;
    place->kept_done = true;
    for (unsigned i = 0; i < place->kept->len; i++)
        g_array_index(place->kept, struct import_pending, i).uid = 0;
    g_array_append_vals(place->fresh, place->kept->data, place->kept->len);
    g_array_set_clear_func(place->kept, NULL);
    g_array_set_size(place->kept, 0);
    g_array_set_clear_func(place->kept, import_pending_clear);
}

bool import_target_take_over(struct import_target *target, struct import_place *place)
{
    struct origin origin = import_origin(IMPORT_COMMAND);
    struct store_error error = {0};
    int result;

    if (g_hash_table_add(target->entered, g_strdup(mailbox_name(place->mailbox))))
        target->counts.mailboxes++;
    if (place->uid_validity == 0)
        return true;
    result = mailbox_take_over(place->mailbox, place->uid_validity, 0, &origin, &error);
    if (result == 0)
        return true;
    if (result != STORE_FORBIDDEN && result != STORE_EXISTS && result != STORE_LIMIT)
        return import_target_fail(target, place->name, &error);
    import_target_tell(target, "%s: its UIDs (UIDVALIDITY %u) can't be kept: %s; %s", place->name,
                       place->uid_validity, error.detail,
                       target->options->uids == IMPORT_UIDS_REQUIRE
                           ? "nothing was imported into it"
                           : "messages get new UIDs, clients will download them again");
    if (target->options->uids == IMPORT_UIDS_REQUIRE)
        return false;
    give_up_uids(place);
    return true;
}

/* Those that are yet to be made. */
static GPtrArray *places_to_make(const struct import_target *target)
{
    GPtrArray *wanted = g_ptr_array_new();

    for (unsigned i = 0; i < target->places->len; i++) {
        struct import_place *place = g_ptr_array_index(target->places, i);

        if (place->mailbox == NULL && !place->left_out)
            g_ptr_array_add(wanted, place);
    }
    return wanted;
}

/* All in one step. Where that fails they are made one by one later, which tells why. */
static void make_together(struct import_target *target, const GPtrArray *wanted)
{
    struct new_mailbox *mailboxes = g_new0(struct new_mailbox, wanted->len);
    struct origin origin = import_origin(IMPORT_COMMAND);
    struct store_error error = {0};

    for (unsigned i = 0; i < wanted->len; i++) {
        const struct import_place *place = g_ptr_array_index(wanted, i);

        mailboxes[i] = (struct new_mailbox){place->name, place->uid_validity, false};
    }
    account_create_mailboxes(target->account, mailboxes, wanted->len, &origin, &error);
    g_free(mailboxes);
}

static bool make_places(struct import_target *target)
{
    GPtrArray *wanted = places_to_make(target);
    bool good = true;

    make_together(target, wanted);
    for (unsigned i = 0; i < wanted->len && good; i++) {
        struct import_place *place = g_ptr_array_index(wanted, i);
        struct store_error error = {0};

        good = open_or_create(target, place->name, &place->mailbox, &error) == 0
                   ? true
                   : import_target_fail(target, place->name, &error);
        good = good && import_target_take_over(target, place);
    }
    g_ptr_array_unref(wanted);
    return good;
}

/* --- batches --- */

/* The batch as the store wants it. */
static struct append *appends_of(const GArray *batch, bool keywords)
{
    struct append *appends = g_new0(struct append, batch->len + 1);

    for (unsigned i = 0; i < batch->len; i++) {
        const struct import_pending *pending = &g_array_index(batch, struct import_pending, i);

        appends[i] = (struct append){
            .spool = pending->spool,
            .keywords = keywords ? (const char *const *)pending->keywords->pdata : NULL,
            .flags = pending->flags,
            .internal_date = pending->date,
            .zone = pending->zone,
            .binary = true,
            .uid = pending->uid,
        };
    }
    return appends;
}

/* What one step of a flush adds to a mailbox: messages with UIDs, and UIDNEXT after them; or those
 * without. */
static struct intake intake_of(const struct import_place *place, bool kept, bool keywords)
{
    const GArray *batch = kept ? place->kept : place->fresh;

    return (struct intake){
        .mailbox = place->mailbox,
        .messages = appends_of(batch, keywords),
        .count = batch->len,
        .uid_next = kept && place->kept_done ? place->uid_next : 0,
    };
}

/* Whether there is something to add in that step. */
static bool has_work(const struct import_place *place, bool kept)
{
    if (place->mailbox == NULL || (!kept && !place->kept_done))
        return false;
    if (!kept)
        return place->fresh->len > 0;
    return place->kept->len > 0 ||
           (place->uid_validity != 0 && place->kept_done &&
            place->uid_next > snapshot_uid_next(mailbox_snapshot(place->mailbox)));
}

static struct origin step_origin(bool kept)
{
    return import_origin(kept ? IMPORT_COMMAND_UIDS : IMPORT_COMMAND);
}

static void note_added(struct import_target *target, struct import_place *place, bool kept)
{
    GArray *batch = kept ? place->kept : place->fresh;

    for (unsigned i = 0; i < batch->len; i++) {
        const struct import_pending *pending = &g_array_index(batch, struct import_pending, i);

        message_summary_delivered(target->account, pending->spool);
        target->counts.octets += spool_size(pending->spool);
    }
    target->counts.messages += batch->len;
    g_array_set_size(batch, 0);
}

/* Somebody else has taken UIDs of the batch since it was begun. */
static void displace_taken(struct import_place *place)
{
    uint32_t next = snapshot_uid_next(mailbox_snapshot(place->mailbox));
    unsigned count = 0;

    for (unsigned i = 0; i < place->kept->len; i++) {
        struct import_pending pending = g_array_index(place->kept, struct import_pending, i);

        if (pending.uid < next) {
            pending.uid = 0;
            g_array_append_val(place->fresh, pending);
        } else {
            g_array_index(place->kept, struct import_pending, count++) = pending;
        }
    }
    g_array_set_clear_func(place->kept, NULL);
    g_array_set_size(place->kept, count);
    g_array_set_clear_func(place->kept, import_pending_clear);
}

static int add_one(struct import_place *place, bool kept, bool keywords, struct store_error *error)
{
    struct intake intake = intake_of(place, kept, keywords);
    struct origin origin = step_origin(kept);
    int result = mailbox_take_in(&intake, 1, &origin, error);

    g_free((void *)(uintptr_t)intake.messages);
    return result;
}

/* A mailbox by itself, where all together did not go. */
static bool add_alone(struct import_target *target, struct import_place *place, bool kept)
{
    struct store_error error = {0};
    int result = add_one(place, kept, true, &error);

    if (result == STORE_EXISTS && kept) {
        displace_taken(place);
        import_target_tell(target, "%s: mail arrived during the import, some messages get new UIDs",
                           place->name);
        if (place->fresh->len > DISPLACED_MAX && !place->kept_done) {
            import_target_tell(target, "%s: too much mail arrives; import again when less does",
                               place->name);
            return false;
        }
        result = add_one(place, kept, true, &error);
    }
    if (result == STORE_LIMIT) {
        unsigned count = kept ? place->kept->len : place->fresh->len;

        result = add_one(place, kept, false, &error);
        if (result == 0)
            import_target_tell(target, "%s: too many keywords: those of %u messages are left out",
                               place->name, count);
    }
    if (result != 0)
        return import_target_fail(target, place->name, &error);
    note_added(target, place, kept);
    return true;
}

static bool add_step(struct import_target *target, bool kept)
{
    GArray *intakes = g_array_new(FALSE, FALSE, sizeof(struct intake));
    GPtrArray *places = g_ptr_array_new();
    struct origin origin = step_origin(kept);
    struct store_error error = {0};
    bool good = true;
    int result;

    for (unsigned i = 0; i < target->places->len; i++) {
        struct import_place *place = g_ptr_array_index(target->places, i);

        if (has_work(place, kept)) {
            struct intake intake = intake_of(place, kept, true);

            g_array_append_val(intakes, intake);
            g_ptr_array_add(places, place);
        }
    }
    result = mailbox_take_in((const struct intake *)(void *)intakes->data, intakes->len, &origin,
                             &error);
    for (unsigned i = 0; i < places->len; i++)
        g_free((void *)(uintptr_t)g_array_index(intakes, struct intake, i).messages);
    for (unsigned i = 0; i < places->len && good; i++) {
        if (result == 0)
            note_added(target, g_ptr_array_index(places, i), kept);
        else
            good = add_alone(target, g_ptr_array_index(places, i), kept);
    }
    g_array_unref(intakes);
    g_ptr_array_unref(places);
    return good;
}

/* Why nothing is removed though that is asked for. */
static void tell_kept(struct import_target *target, const struct import_place *place)
{
    if (!target->options->delete_gone || place->known == NULL)
        return;
    if (place->uid_validity == 0)
        import_target_tell(
            target, "%s: it has not the source's UIDs: what is gone there can't be told and stays",
            place->name);
    else if (place->incomplete)
        import_target_tell(target, "%s: not all of it could be read: what is gone there stays",
                           place->name);
}

/* What has been left needs no more. */
static bool catch_up(struct import_target *target)
{
    for (unsigned i = 0; i < target->places->len;) {
        struct import_place *place = g_ptr_array_index(target->places, i);
        struct store_error error = {0};

        if (!place->left) {
            i++;
            continue;
        }
        if (import_place_catch_up(place, target->options->delete_gone, &target->counts.place,
                                  &error) != 0)
            return import_target_fail(target, place->name, &error);
        tell_kept(target, place);
        g_ptr_array_remove_index_fast(target->places, i);
    }
    return true;
}

bool import_target_flush(struct import_target *target)
{
    struct store_error error = {0};

    if (!make_places(target) || !add_step(target, true) || !add_step(target, false) ||
        !catch_up(target))
        return false;
    target->waiting = 0;
    target->waiting_octets = 0;
    target->known = 0;
    return store_sync(target->store, &error) == 0 ? true
                                                  : import_target_fail(target, "the store", &error);
}
