#include "tests/session_memory.h"
#include "tests/store_fixture.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/mime.h"
#include "store/verify.h"

/* --- the host of the sessions --- */

static int64_t host_now(void *data)
{
    const struct memory_server *server = data;
    return server->now;
}

static void host_authenticate(void *data, struct session *session, const char *user,
                              const char *password)
{
    struct memory_server *server = data;
    assert(server->login == NULL);
    server->login = session;
    server->login_user = g_strdup(user);
    server->login_password = g_strdup(password);
}

static GBytes *host_structure(void *data, const uint8_t *message, size_t length, bool *final)
{
    (void)data;
    *final = true;
    return mime_structure(message, length);
}

static GBytes *host_text(void *data, const uint8_t *message, size_t length, bool header, bool body)
{
    (void)data;
    return mime_text(message, length, header, body, 16 * 1024 * 1024);
}

static void host_log(void *data, enum session_log_level level, const char *session_id,
                     const char *message)
{
    struct memory_server *server = data;
    if (level != SESSION_LOG_DEBUG)
        g_ptr_array_add(server->log, g_strdup_printf("%s %s", session_id, message));
}

static void answer_login(struct memory_server *server)
{
    const char *user = server->login_user;
    bool known = strcmp(user, "alice") == 0 || strcmp(user, "bob") == 0;
    if (strcmp(user, "nobody") == 0)
        session_authentication_failed(server->login, "UNAVAILABLE");
    else if (known && strcmp(user, server->login_password) == 0)
        session_authenticated(server->login, server->store, user);
    else
        session_authentication_failed(server->login, NULL);
    g_free(server->login_user);
    g_free(server->login_password);
    server->login = NULL;
}

/* --- turns, as the edge takes them --- */

static void take_output(struct memory_client *client, bool *moved)
{
    if (client->stalled)
        return;
    for (GBytes *piece; (piece = session_output_take(client->session)) != NULL;) {
        gsize size = 0;
        const uint8_t *octets = g_bytes_get_data(piece, &size);
        g_byte_array_append(client->output, octets, (guint)size);
        g_bytes_unref(piece);
        *moved = true;
    }
}

static bool step_all(struct memory_server *server)
{
    bool moved = false;
    for (size_t i = 0; i < SCRIPT_CLIENTS; i++) {
        struct memory_client *client = &server->clients[i];
        if (client->session == NULL)
            continue;
        enum session_status before = client->status;
        client->status = session_step(client->session);
        moved = moved || client->status == SESSION_RUNNABLE || client->status != before;
    }
    if (server->login != NULL) {
        answer_login(server);
        moved = true;
    }
    return moved;
}

void memory_server_turn(struct memory_server *server)
{
    for (bool moved = true; moved;) {
        moved = step_all(server);
        struct store_error error = {STORE_OK, ""};
        if (store_sync(server->store, &error) != 0)
            g_error("store_sync: %s", error.detail);
        for (size_t i = 0; i < SCRIPT_CLIENTS; i++) {
            struct memory_client *client = &server->clients[i];
            if (client->session == NULL)
                continue;
            session_notify(client->session);
            take_output(client, &moved);
        }
    }
}

/* --- the transport of scripts --- */

static bool transport_open(void *data, unsigned number, bool tls)
{
    static unsigned serial = 0;
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    session_free(client->session);
    char id[32];
    snprintf(id, sizeof id, "s%u", ++serial);
    client->session = session_new(&server->settings, &server->host, id, "192.0.2.7", tls);
    client->status = SESSION_WAITING;
    g_byte_array_set_size(client->output, 0);
    memory_server_turn(server);
    return true;
}

static void forget_login(struct memory_server *server, const struct session *session)
{
    if (server->login != session || session == NULL)
        return;
    g_free(server->login_user);
    g_free(server->login_password);
    server->login = NULL;
}

static void transport_close(void *data, unsigned number)
{
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    forget_login(server, client->session);
    session_free(client->session);
    client->session = NULL;
}

static bool transport_send(void *data, unsigned number, const void *octets, size_t length)
{
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    const uint8_t *next = octets;
    while (length > 0 && client->session != NULL) {
        size_t room = session_input_room(client->session);
        size_t part = MIN(length, room);
        if (server->octet_by_octet)
            part = MIN(part, 1);
        if (part == 0) {
            memory_server_turn(server);
            if (session_input_room(client->session) == 0)
                return false;
            continue;
        }
        session_input(client->session, next, part);
        next += part;
        length -= part;
        if (server->octet_by_octet && length > 0)
            client->status = session_step(client->session);
        else
            memory_server_turn(server);
    }
    return client->session != NULL;
}

static bool transport_receive(void *data, unsigned number, GByteArray *in, bool wait)
{
    (void)wait;
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    memory_server_turn(server);
    if (client->output->len > 0) {
        g_byte_array_append(in, client->output->data, client->output->len);
        g_byte_array_set_size(client->output, 0);
    }
    return client->session != NULL && client->status != SESSION_CLOSED;
}

static bool transport_start_tls(void *data, unsigned number)
{
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    if (client->status != SESSION_STARTTLS)
        return false;
    session_tls_started(client->session);
    memory_server_turn(server);
    return true;
}

static bool transport_compress(void *data, unsigned number)
{
    struct memory_server *server = data;
    struct memory_client *client = &server->clients[number];
    if (client->status != SESSION_COMPRESS)
        return false;
    session_compressed(client->session);
    memory_server_turn(server);
    return true;
}

static bool transport_advance(void *data, int64_t microseconds)
{
    struct memory_server *server = data;
    server->now += microseconds;
    memory_server_turn(server);
    return true;
}

struct script_transport memory_server_transport(struct memory_server *server)
{
    return (struct script_transport){
        .data = server,
        .open = transport_open,
        .send = transport_send,
        .receive = transport_receive,
        .start_tls = transport_start_tls,
        .compress = transport_compress,
        .close = transport_close,
        .advance = transport_advance,
    };
}

/* --- life --- */

void memory_server_init(struct memory_server *server)
{
    *server = (struct memory_server){0};
    server->directory = g_strdup_printf("%s/annal-test-XXXXXX", g_get_tmp_dir());
    if (mkdtemp(server->directory) == NULL)
        g_error("mkdtemp failed");
    server->now = INT64_C(1709294400) * G_USEC_PER_SEC; /* 2024-03-01 12:00:00 UTC */
    server->settings = (struct session_settings){
        .append_limit = MEMORY_SERVER_APPEND_LIMIT,
        .offer_starttls = true,
        .allow_cleartext_login = false,
        .idle_timeout = INT64_C(30) * 60 * G_USEC_PER_SEC,
        .login_timeout = INT64_C(60) * G_USEC_PER_SEC,
        .login_attempts = 3,
    };
    server->host = (struct session_host){
        .data = server,
        .now = host_now,
        .authenticate = host_authenticate,
        .structure = host_structure,
        .text = host_text,
        .log = host_log,
    };
    server->log = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < SCRIPT_CLIENTS; i++)
        server->clients[i].output = g_byte_array_new();
    mime_init();
    server->disk = fixture_host_without_syncs();
    struct store_error error = {STORE_OK, ""};
    if (store_open(&server->store, server->directory, &server->disk, &error) != 0)
        g_error("store_open: %s", error.detail);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void close_store(struct memory_server *server)
{
    for (unsigned i = 0; i < SCRIPT_CLIENTS; i++)
        transport_close(server, i);
    store_close(server->store);
    server->store = NULL;
}

void memory_server_release(struct memory_server *server)
{
    close_store(server);
    for (size_t i = 0; i < SCRIPT_CLIENTS; i++)
        g_byte_array_unref(server->clients[i].output);
    g_ptr_array_unref(server->log);
    nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    g_free(server->directory);
}

static void report_finding(const char *finding, void *data)
{
    g_string_append_printf(data, "%s\n", finding);
}

bool memory_server_verify(struct memory_server *server, GString *report)
{
    static const char *const users[] = {"alice", "bob"};
    bool good = true;
    close_store(server);
    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        char *path = g_strdup_printf("%s/mail/%s.git", server->directory, users[i]);
        struct store_error error = {STORE_OK, ""};
        size_t findings = 0;
        if (access(path, F_OK) == 0 &&
            (verify_repository(path, report_finding, report, &findings, &error) != 0 ||
             findings > 0)) {
            g_string_append_printf(report, "%s: %s\n", users[i], error.detail);
            good = false;
        }
        g_free(path);
    }
    return good;
}
