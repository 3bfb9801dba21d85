#include "server/admin_observer.h"

#include <glib.h>
#include <stdio.h>

#include "server/interrupt.h"
#include "server/log.h"
#include "server/progress.h"

struct admin_observer {
    struct observer observer;
    struct progress *progress;
    enum observer_stage stage;
    char *what[OBSERVER_STAGE_COUNT];
};

static const struct {
    const char *text;
    const char *unit; /* NULL: octets */
} STAGES[OBSERVER_STAGE_COUNT] = {
    [OBSERVER_SEARCH] = {"searching", "changes"},
    [OBSERVER_REWRITE] = {"rewriting", "changes"},
    [OBSERVER_OBJECTS] = {"looking", "objects"},
    [OBSERVER_CHANGES] = {"checking", "changes"},
    [OBSERVER_COPY] = {"copying", NULL},
    [OBSERVER_WRITE] = {"writing", "objects"},
    [OBSERVER_UNPACK] = {"unpacking", NULL},
    [OBSERVER_DELTAS] = {"resolving", "deltas"},
    [OBSERVER_CHECKPOINTS] = {"checking", "checkpoints"},
    [OBSERVER_MAILBOXES] = {"restoring", "mailboxes"},
};

static void on_progress(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct admin_observer *observer = data;

    if (stage != observer->stage) {
        observer->stage = stage;
        progress_stage(observer->progress, observer->what[stage], STAGES[stage].unit);
    }
    progress_total(observer->progress, total, STAGES[stage].unit);
    progress_update(observer->progress, done);
}

static bool on_go_on(void *data)
{
    (void)data;
    return !interrupted();
}

struct admin_observer *admin_observer_new(const char *subject)
{
    struct admin_observer *observer = g_new0(struct admin_observer, 1);
    char *name = g_strdup(subject);

    log_clean(name);
    for (int i = 0; i < OBSERVER_STAGE_COUNT; i++)
        observer->what[i] = g_strdup_printf("%s: %s", name, STAGES[i].text);
    g_free(name);
    observer->stage = OBSERVER_OBJECTS;
    observer->progress = progress_new(stderr, PROGRESS_AUTO, observer->what[OBSERVER_OBJECTS],
                                      STAGES[OBSERVER_OBJECTS].unit);
    observer->observer =
        (struct observer){.progress = on_progress, .go_on = on_go_on, .data = observer};
    interrupt_catch();
    return observer;
}

void admin_observer_free(struct admin_observer *observer)
{
    if (observer == NULL)
        return;
    progress_free(observer->progress);
    for (int i = 0; i < OBSERVER_STAGE_COUNT; i++)
        g_free(observer->what[i]);
    g_free(observer);
}

const struct observer *admin_observer_of(struct admin_observer *observer)
{
    return &observer->observer;
}

void admin_observer_pause(struct admin_observer *observer)
{
    progress_pause(observer->progress);
}
