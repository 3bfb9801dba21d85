#include "server/service.h"

#include <event2/event.h>
#include <glib.h>
#include <time.h>

#include "server/log.h"

enum {
    PINGS = 4, /* in the time that the watchdog gives */
    LOOKS = 4, /* for connections in the time of idleness */
};

struct service {
    struct service_settings settings;
    struct event *watchdog;
    struct event *idle;
    unsigned idle_exit;
    int64_t idle_since;
    uint64_t opened; /* connections, at the last look */
};

static int64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void repeat(struct event *event, int64_t microseconds)
{
    const struct timeval time = {
        .tv_sec = microseconds / 1000000,
        .tv_usec = microseconds % 1000000,
    };

    event_add(event, &time);
}

/* A worker in a long turn costs a ping; only several in a row cost the server. */
static void on_watchdog(evutil_socket_t fd, short events, void *data)
{
    const struct service *service = data;
    char lines[64];

    (void)fd;
    (void)events;
    if (!workers_alive(service->settings.workers)) {
        log_line(LOG_LEVEL_WARNING, NULL, "event=watchdog reason=\"a worker is busy or stuck\"");
        return;
    }
    g_snprintf(lines, sizeof lines, "WATCHDOG=1\nSTATUS=%u connections",
               connections_count(service->settings.connections));
    notify_tell(service->settings.notify, lines);
}

static void on_idle(evutil_socket_t fd, short events, void *data)
{
    struct service *service = data;
    int64_t now = monotonic();
    uint64_t opened = connections_opened(service->settings.connections);

    (void)fd;
    (void)events;
    if (connections_count(service->settings.connections) > 0 || opened != service->opened)
        service->idle_since = now;
    service->opened = opened;
    if (now - service->idle_since < service->idle_exit * INT64_C(1000000))
        return;
    event_del(service->idle);
    service->settings.idle(service->settings.data);
}

struct service *service_new(const struct service_settings *settings)
{
    struct service *service = g_new0(struct service, 1);
    int64_t limit = notify_watchdog(settings->notify);

    service->settings = *settings;
    service->watchdog = event_new(settings->base, -1, EV_PERSIST, on_watchdog, service);
    service->idle = event_new(settings->base, -1, EV_PERSIST, on_idle, service);
    if (service->watchdog == NULL || service->idle == NULL) {
        service_free(service);
        return NULL;
    }
    if (limit > 0)
        repeat(service->watchdog, limit / PINGS);
    notify_tell(settings->notify, "READY=1\nSTATUS=Ready");
    return service;
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    if (service->watchdog != NULL)
        event_free(service->watchdog);
    if (service->idle != NULL)
        event_free(service->idle);
    g_free(service);
}

void service_set_idle_exit(struct service *service, unsigned seconds)
{
    event_del(service->idle);
    service->idle_exit = seconds;
    service->idle_since = monotonic();
    service->opened = connections_opened(service->settings.connections);
    if (seconds > 0)
        repeat(service->idle, seconds * INT64_C(1000000) / LOOKS);
}

void service_reloading(const struct service *service)
{
    notify_tell_reloading(service->settings.notify);
}

void service_reloaded(const struct service *service)
{
    notify_tell(service->settings.notify, "READY=1");
}

void service_stopping(struct service *service)
{
    if (service == NULL)
        return;
    event_del(service->idle);
    notify_tell(service->settings.notify, "STOPPING=1\nSTATUS=Stopping");
}
