#include "server/doctor.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/control.h"

static void finding_free(void *data)
{
    struct doctor_finding *finding = data;

    g_free(finding->text);
    g_free(finding->advice);
    g_free(finding);
}

void doctor_init(struct doctor *doctor, const struct config *config)
{
    *doctor = (struct doctor){
        .config = config,
        .findings = g_ptr_array_new_with_free_func(finding_free),
    };
}

void doctor_release(struct doctor *doctor)
{
    g_ptr_array_unref(doctor->findings);
}

void doctor_note(struct doctor *doctor, const char *check, enum doctor_verdict verdict,
                 const char *advice, const char *format, ...)
{
    struct doctor_finding *finding = g_new0(struct doctor_finding, 1);
    va_list arguments;

    finding->check = check;
    finding->verdict = verdict;
    va_start(arguments, format);
    finding->text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    finding->advice = g_strdup(advice);
    g_ptr_array_add(doctor->findings, finding);
}

/* --- a running server --- */

/* The number of a line "name number"; 0 if there is none. */
static uint64_t number_in(const GPtrArray *lines, const char *name)
{
    for (guint i = 0; i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);

        if (g_str_has_prefix(line, name) && line[strlen(name)] == ' ')
            return g_ascii_strtoull(line + strlen(name) + 1, NULL, 10);
    }
    return 0;
}

static void note_signing(struct doctor *doctor, uint64_t failing)
{
    if (failing > 0)
        doctor_note(doctor, "checkpoints", DOCTOR_BAD,
                    "its log tells why (event=checkpoint); then annal checkpoint --all signs at "
                    "once",
                    "of %" G_GUINT64_FORMAT " account%s can't be signed", failing,
                    failing == 1 ? "" : "s");
}

static void ask_numbers(struct doctor *doctor)
{
    GPtrArray *lines = NULL;
    char *problem = NULL;

    if (control_ask(doctor->config->control, "stats", &lines, &problem) == CONTROL_DONE) {
        doctor->descriptors = number_in(lines, "process_max_fds");
        note_signing(doctor, number_in(lines, "annal_signing_failing_accounts"));
        doctor->expiry = (int64_t)number_in(lines, "annal_certificate_expiry_timestamp_seconds");
        g_ptr_array_unref(lines);
    }
    g_free(problem);
}

static void note_health(struct doctor *doctor, const GPtrArray *problems)
{
    for (guint i = 0; i < problems->len; i++)
        doctor_note(doctor, "server", DOCTOR_BAD, "see its log, and what else is found here",
                    "runs, but says: %s", (const char *)g_ptr_array_index(problems, i));
    if (problems->len == 0)
        doctor_note(doctor, "server", DOCTOR_GOOD, NULL, "runs and has no complaint");
}

void doctor_look_at_server(struct doctor *doctor)
{
    GPtrArray *problems = NULL;
    char *problem = NULL;

    switch (control_ask(doctor->config->control, "health", &problems, &problem)) {
    case CONTROL_DONE:
        doctor->running = true;
        note_health(doctor, problems);
        g_ptr_array_unref(problems);
        ask_numbers(doctor);
        break;
    case CONTROL_ABSENT:
        doctor_note(doctor, "server", DOCTOR_GOOD, NULL, "is not running");
        break;
    case CONTROL_SILENT:
        doctor->running = true;
        doctor_note(doctor, "server", DOCTOR_BAD,
                    "its log may tell why; restart it: systemctl restart annal", "%s", problem);
        break;
    case CONTROL_FAILED:
        doctor_note(doctor, "server", DOCTOR_WARNING,
                    "run annal doctor as the server's user or as root", "can't be asked: %s",
                    problem);
        break;
    }
    g_free(problem);
}

/* --- its addresses --- */

/* 0, or an errno. */
static int try_address(const struct config_listen *listen)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int on = 1;
    char port[8];

    g_snprintf(port, sizeof port, "%u", (unsigned)listen->port);
    if (getaddrinfo(listen->address, port, &hints, &found) != 0)
        return EINVAL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int problem = 0;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0)
        problem = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return problem;
}

static void look_at_list(struct doctor *doctor, const char *name, const GArray *listens)
{
    for (guint i = 0; i < listens->len; i++) {
        const struct config_listen *listen = &g_array_index(listens, struct config_listen, i);

        if (listen->address[0] == '/')
            continue; /* a Unix socket */
        int problem = try_address(listen);

        if (problem == 0)
            doctor_note(doctor, "addresses", DOCTOR_GOOD, NULL, "%s: %s port %u is free", name,
                        listen->address, (unsigned)listen->port);
        else if (problem == EACCES)
            doctor_note(doctor, "addresses", DOCTOR_WARNING,
                        "let systemd hand over the sockets, give the server CAP_NET_BIND_SERVICE, "
                        "or use ports from 1024 on",
                        "%s: this user may not listen at port %u", name, (unsigned)listen->port);
        else
            doctor_note(doctor, "addresses", DOCTOR_BAD,
                        problem == EADDRINUSE ? "stop what listens there (ss -ltnp tells), or "
                                                "change the address in the configuration"
                                              : "correct the address in the configuration",
                        "%s: %s port %u can't be listened at: %s", name, listen->address,
                        (unsigned)listen->port, g_strerror(problem));
    }
}

void doctor_look_at_addresses(struct doctor *doctor)
{
    if (doctor->running) {
        doctor_note(doctor, "addresses", DOCTOR_GOOD, NULL, "the server listens");
        return;
    }
    look_at_list(doctor, "imaps", doctor->config->imaps);
    look_at_list(doctor, "imap", doctor->config->imap);
    look_at_list(doctor, "lmtp", doctor->config->lmtp);
    look_at_list(doctor, "metrics_listen", doctor->config->metrics);
}
