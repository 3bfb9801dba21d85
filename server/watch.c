#include "server/watch.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "server/health.h"
#include "server/log.h"
#include "server/openmetrics.h"

enum {
    TIMEOUT_SECONDS = 10,
    HEADERS_MAX = 8 * 1024, /* octets */
    BODY_MAX = 1024,
};

struct watch {
    const struct report_sources *sources;
    struct evhttp *http;
    uint16_t port;
};

static void answer(struct evhttp_request *request, int status, const char *reason, const char *type,
                   const GString *text)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();

    if (body == NULL || evbuffer_add(body, text->str, text->len) != 0) {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
    } else {
        evhttp_add_header(headers, "Content-Type", type);
        evhttp_add_header(headers, "Cache-Control", "no-store");
        evhttp_send_reply(request, status, reason, body);
    }
    if (body != NULL)
        evbuffer_free(body);
}

static void on_metrics(struct evhttp_request *request, void *data)
{
    const struct watch *watch = data;
    GString *text = g_string_new(NULL);

    report_write(watch->sources, text);
    answer(request, HTTP_OK, "OK", OPENMETRICS_TYPE, text);
    g_string_free(text, TRUE);
}

static void on_health(struct evhttp_request *request, void *data)
{
    const struct watch *watch = data;
    GPtrArray *problems = health_problems(watch->sources);
    GString *text = g_string_new(problems->len == 0 ? "ok\n" : NULL);

    for (guint i = 0; i < problems->len; i++)
        g_string_append_printf(text, "%s\n", (const char *)g_ptr_array_index(problems, i));
    answer(request, problems->len == 0 ? HTTP_OK : HTTP_SERVUNAVAIL,
           problems->len == 0 ? "OK" : "Service Unavailable", "text/plain; charset=utf-8", text);
    g_string_free(text, TRUE);
    g_ptr_array_unref(problems);
}

static uint16_t port_of(struct evhttp_bound_socket *socket)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;

    if (getsockname(evhttp_bound_socket_get_fd(socket), (struct sockaddr *)&address, &length) != 0)
        return 0;
    if (address.ss_family == AF_INET6) {
        memcpy(&ipv6, &address, sizeof ipv6);
        return ntohs(ipv6.sin6_port);
    }
    memcpy(&ipv4, &address, sizeof ipv4);
    return ntohs(ipv4.sin_port);
}

static bool listen_at(struct watch *watch, const struct config_listen *listen, char **problem)
{
    struct evhttp_bound_socket *socket =
        evhttp_bind_socket_with_handle(watch->http, listen->address, listen->port);

    if (socket == NULL) {
        *problem = g_strdup_printf("metrics_listen: %s port %u: %s", listen->address,
                                   (unsigned)listen->port, g_strerror(errno));
        return false;
    }
    uint16_t port = port_of(socket);

    log_line(LOG_LEVEL_INFO, NULL, "event=listen address=%s port=%u kind=metrics", listen->address,
             (unsigned)port);
    if (watch->port == 0)
        watch->port = port;
    return true;
}

struct watch *watch_new(struct event_base *base, const struct report_sources *sources,
                        char **problem)
{
    const GArray *listens = sources->config->metrics;
    struct watch *watch = g_new0(struct watch, 1);

    watch->sources = sources;
    watch->http = evhttp_new(base);
    if (watch->http == NULL) {
        *problem = g_strdup("metrics_listen: out of memory");
        watch_free(watch);
        return NULL;
    }
    evhttp_set_timeout(watch->http, TIMEOUT_SECONDS);
    evhttp_set_max_headers_size(watch->http, HEADERS_MAX);
    evhttp_set_max_body_size(watch->http, BODY_MAX);
    evhttp_set_allowed_methods(watch->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_cb(watch->http, "/metrics", on_metrics, watch);
    evhttp_set_cb(watch->http, "/health", on_health, watch);
    for (guint i = 0; i < listens->len; i++) {
        if (!listen_at(watch, &g_array_index(listens, struct config_listen, i), problem)) {
            watch_free(watch);
            return NULL;
        }
    }
    return watch;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    if (watch->http != NULL)
        evhttp_free(watch->http);
    g_free(watch);
}

uint16_t watch_port(const struct watch *watch)
{
    return watch->port;
}
