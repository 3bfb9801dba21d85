#include "tests/session_script.h"

#include <stdlib.h>
#include <string.h>

struct client {
    bool open;
    bool hung_up;
    GByteArray *in;
};

struct script {
    const struct script_transport *transport;
    GString *report;
    char **lines;
    size_t line; /* of the next line; also the number of the present one */
    struct client clients[SCRIPT_CLIENTS];
    GHashTable *messages;  /* char * to GString * */
    GHashTable *variables; /* char * to char * */
};

static bool fail(struct script *script, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct script *script, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_string_append_printf(script->report, "line %zu: ", script->line);
    g_string_append_vprintf(script->report, format, arguments);
    g_string_append_c(script->report, '\n');
    va_end(arguments);
    return false;
}

/* --- expanding text --- */

/* "$NAME(argument)" at text: the argument as a new string, and where the text goes on. */
static char *take_argument(const char *text, const char *name, const char **rest)
{
    size_t length = strlen(name);
    if (strncmp(text, name, length) != 0 || text[length] != '(')
        return NULL;
    const char *end = strchr(text + length, ')');
    if (end == NULL)
        return NULL;
    *rest = end + 1;
    return g_strndup(text + length + 1, (size_t)(end - text - length - 1));
}

static void append_hex(GString *out, const char *digits)
{
    for (; g_ascii_isxdigit(digits[0]) && g_ascii_isxdigit(digits[1]); digits += 2)
        g_string_append_c(
            out, (char)(g_ascii_xdigit_value(digits[0]) * 16 + g_ascii_xdigit_value(digits[1])));
}

static void append_repeated(GString *out, const char *argument)
{
    char *text = NULL;
    unsigned long count = strtoul(argument, &text, 10);
    for (; count > 0 && *text == ','; count--)
        g_string_append(out, text + 1);
}

static const GString *find_message(struct script *script, const char *name)
{
    const GString *message = g_hash_table_lookup(script->messages, name);
    if (message == NULL)
        fail(script, "no message %s", name);
    return message;
}

static bool expand_one(struct script *script, GString *out, const char *text, const char **rest)
{
    char *argument = NULL;
    if (strncmp(text, "$CRLF", 5) == 0) {
        g_string_append(out, "\r\n");
        *rest = text + 5;
    } else if ((argument = take_argument(text, "$HEX", rest)) != NULL) {
        append_hex(out, argument);
    } else if ((argument = take_argument(text, "$REPEAT", rest)) != NULL) {
        append_repeated(out, argument);
    } else if ((argument = take_argument(text, "$SIZE", rest)) != NULL) {
        const GString *message = find_message(script, argument);
        g_string_append_printf(out, "%zu", message == NULL ? 0 : message->len);
    } else if ((argument = take_argument(text, "$MESSAGE", rest)) != NULL) {
        const GString *message = find_message(script, argument);
        if (message != NULL)
            g_string_append_len(out, message->str, (gssize)message->len);
    } else if ((argument = take_argument(text, "$GET", rest)) != NULL) {
        const char *value = g_hash_table_lookup(script->variables, argument);
        g_string_append(out, value == NULL ? "(never set)" : value);
    } else {
        return false;
    }
    g_free(argument);
    return true;
}

static GString *expand(struct script *script, const char *text)
{
    GString *out = g_string_new(NULL);
    while (*text != '\0') {
        const char *rest = text;
        if (*text == '$' && expand_one(script, out, text, &rest)) {
            text = rest;
            continue;
        }
        g_string_append_c(out, *text++);
    }
    return out;
}

/* --- matching --- */

static bool number_is_more(struct script *script, const char *name, const char *digits)
{
    const char *value = g_hash_table_lookup(script->variables, name);
    return value != NULL && strtoull(digits, NULL, 10) > strtoull(value, NULL, 10);
}

static bool match(struct script *script, const char *pattern, const char *text);

static bool match_number(struct script *script, const char *pattern, const char *text,
                         const char *set, const char *more)
{
    size_t length = strspn(text, "0123456789");
    if (length == 0)
        return false;
    char *digits = g_strndup(text, length);
    bool good = more == NULL || number_is_more(script, more, digits);
    good = good && match(script, pattern, text + length);
    if (good && set != NULL)
        g_hash_table_insert(script->variables, g_strdup(set), g_strdup(digits));
    g_free(digits);
    return good;
}

/* An object's id, remembered. */
static bool match_id(struct script *script, const char *pattern, const char *text, const char *set)
{
    size_t length = strspn(text, "0123456789-_" G_CSET_A_2_Z G_CSET_a_2_z);
    bool good = length > 0 && match(script, pattern, text + length);
    if (good)
        g_hash_table_insert(script->variables, g_strdup(set), g_strndup(text, length));
    return good;
}

static bool match(struct script *script, const char *pattern, const char *text)
{
    for (;; pattern++, text++) {
        const char *rest = NULL;
        char *name = NULL;
        if (strncmp(pattern, "$ANY", 4) == 0) {
            for (const char *end = text;; end++) {
                if (match(script, pattern + 4, end))
                    return true;
                if (*end == '\0')
                    return false;
            }
        }
        if (strncmp(pattern, "$NUM", 4) == 0)
            return match_number(script, pattern + 4, text, NULL, NULL);
        if ((name = take_argument(pattern, "$SET", &rest)) != NULL) {
            bool good = match_number(script, rest, text, name, NULL);
            g_free(name);
            return good;
        }
        if ((name = take_argument(pattern, "$ID", &rest)) != NULL) {
            bool good = match_id(script, rest, text, name);
            g_free(name);
            return good;
        }
        if ((name = take_argument(pattern, "$MORE", &rest)) != NULL) {
            bool good = match_number(script, rest, text, NULL, name);
            g_free(name);
            return good;
        }
        if (*pattern != *text)
            return false;
        if (*pattern == '\0')
            return true;
    }
}

/* --- receiving --- */

/* The next line without its CRLF, a new string; NULL if none comes. */
static char *take_line(struct script *script, unsigned number, bool wait)
{
    struct client *client = &script->clients[number];
    size_t searched = 0;
    for (;;) {
        for (; searched + 1 < client->in->len; searched++) {
            if (client->in->data[searched] != '\r' || client->in->data[searched + 1] != '\n')
                continue;
            char *line = g_strndup((const char *)client->in->data, searched);
            g_byte_array_remove_range(client->in, 0, (guint)searched + 2);
            return line;
        }
        size_t before = client->in->len;
        if (client->hung_up)
            return NULL;
        const struct script_transport *transport = script->transport;
        if (!transport->receive(transport->data, number, client->in, wait))
            client->hung_up = true;
        if (client->in->len == before)
            return NULL;
    }
}

static bool expect_line(struct script *script, unsigned number, const char *pattern)
{
    char *line = take_line(script, number, true);
    bool good = line != NULL && match(script, pattern, line);
    if (!good)
        fail(script, "expected %s\n     received %s", pattern, line == NULL ? "nothing" : line);
    g_free(line);
    return good;
}

static bool expect(struct script *script, unsigned number, const char *text)
{
    GString *pattern = expand(script, text);
    char **lines = g_strsplit(pattern->str, "\r\n", -1);
    bool good = true;
    if (lines[0] == NULL)
        good = expect_line(script, number, "");
    for (size_t i = 0; good && lines[i] != NULL; i++)
        good = expect_line(script, number, lines[i]);
    g_strfreev(lines);
    g_string_free(pattern, TRUE);
    return good;
}

static bool skip_to(struct script *script, unsigned number, const char *text)
{
    GString *pattern = expand(script, text);
    char *line = NULL;
    char *last = NULL;
    bool found = false;
    while (!found && (line = take_line(script, number, true)) != NULL) {
        found = match(script, pattern->str, line);
        g_free(last);
        last = line;
    }
    if (!found)
        fail(script, "never received %s\n     last came %s", pattern->str,
             last == NULL ? "nothing" : last);
    g_free(last);
    g_string_free(pattern, TRUE);
    return found;
}

static bool expect_nothing(struct script *script, unsigned number, bool closed)
{
    struct client *client = &script->clients[number];
    char *line = take_line(script, number, closed);
    if (line != NULL) {
        fail(script, "expected nothing\n     received %s", line);
        g_free(line);
        return false;
    }
    if (client->in->len > 0)
        return fail(script, "expected nothing, received half a line");
    if (closed != client->hung_up)
        return fail(script, closed ? "the server has not hung up" : "the server has hung up");
    return true;
}

/* Lines from the one after "A{" to "A}", in any order. */
static bool expect_group(struct script *script, unsigned number)
{
    char prefix[] = {(char)('A' + number), '<', '\0'};
    char end[] = {(char)('A' + number), '}', '\0'};
    GPtrArray *patterns = g_ptr_array_new_with_free_func(g_free);
    for (; script->lines[script->line] != NULL; script->line++) {
        const char *line = script->lines[script->line];
        if (g_str_has_prefix(line, end))
            break;
        if (g_str_has_prefix(line, prefix)) {
            GString *pattern = expand(script, line[2] == ' ' ? line + 3 : line + 2);
            g_ptr_array_add(patterns, g_string_free(pattern, FALSE));
        }
    }
    script->line++;
    bool good = true;
    while (good && patterns->len > 0) {
        char *line = take_line(script, number, true);
        guint i = 0;
        while (line != NULL && i < patterns->len &&
               !match(script, g_ptr_array_index(patterns, i), line))
            i++;
        if (line == NULL || i == patterns->len)
            good =
                fail(script, "expected one of a group, such as %s\n     received %s",
                     (const char *)g_ptr_array_index(patterns, 0), line == NULL ? "nothing" : line);
        else
            g_ptr_array_remove_index(patterns, i);
        g_free(line);
    }
    g_ptr_array_unref(patterns);
    return good;
}

/* --- sending --- */

static bool send_octets(struct script *script, unsigned number, const GString *octets)
{
    const struct script_transport *transport = script->transport;
    if (octets->len == 0 || transport->send(transport->data, number, octets->str, octets->len))
        return true;
    return fail(script, "can't send");
}

/* Sends text up to the literal, gets the continuation, and goes on with the message. */
static bool send_text(struct script *script, unsigned number, const char *text, bool with_end)
{
    GString *out = g_string_new(NULL);
    bool good = true;
    while (good && *text != '\0') {
        const char *rest = text;
        char *name = NULL;
        bool wait = false;
        if (*text == '$' && (name = take_argument(text, "$LITERAL", &rest)) != NULL)
            wait = true;
        else if (*text == '$')
            name = take_argument(text, "$LITERAL+", &rest);
        if (name == NULL) {
            if (*text != '$' || !expand_one(script, out, text, &rest)) {
                g_string_append_c(out, *text);
                rest = text + 1;
            }
            text = rest;
            continue;
        }
        const GString *message = find_message(script, name);
        g_free(name);
        good = message != NULL;
        if (good)
            g_string_append_printf(out, "{%zu%s}\r\n", message->len, wait ? "" : "+");
        if (good && wait) {
            good = send_octets(script, number, out) && expect_line(script, number, "+ $ANY");
            g_string_truncate(out, 0);
        }
        if (good)
            g_string_append_len(out, message->str, (gssize)message->len);
        text = rest;
    }
    if (with_end)
        g_string_append(out, "\r\n");
    good = good && send_octets(script, number, out);
    g_string_free(out, TRUE);
    return good;
}

/* --- directives --- */

static void take_message(struct script *script, const char *name)
{
    GString *message = g_string_new(NULL);
    for (; script->lines[script->line] != NULL; script->line++) {
        const char *line = script->lines[script->line];
        if (strcmp(line, ".") == 0)
            break;
        GString *text = expand(script, line);
        g_string_append_len(message, text->str, (gssize)text->len);
        g_string_append(message, "\r\n");
        g_string_free(text, TRUE);
    }
    script->line++;
    g_hash_table_insert(script->messages, g_strdup(name), message);
}

static bool open_client(struct script *script, unsigned number, bool tls)
{
    struct client *client = &script->clients[number];
    const struct script_transport *transport = script->transport;
    g_byte_array_set_size(client->in, 0);
    client->hung_up = false;
    client->open = transport->open(transport->data, number, tls);
    return client->open || fail(script, "can't connect");
}

static bool login(struct script *script, unsigned number, const char *user)
{
    char *text = g_strdup_printf("login LOGIN %s %s", user, user);
    bool good = open_client(script, number, true) && expect(script, number, "* OK $ANY") &&
                send_text(script, number, text, true) && expect(script, number, "login OK $ANY");
    g_free(text);
    return good;
}

static bool append(struct script *script, unsigned number, char **words)
{
    if (words[2] == NULL || words[3] == NULL)
        return fail(script, "append A MAILBOX NAME [FLAGS [DATE]]");
    char *more = words[4] == NULL ? g_strdup("") : g_strjoinv(" ", words + 4);
    char *text = g_strdup_printf("append APPEND %s %s%s$LITERAL+(%s)", words[2], more,
                                 *more == '\0' ? "" : " ", words[3]);
    bool good = send_text(script, number, text, true) && skip_to(script, number, "append OK $ANY");
    g_free(text);
    g_free(more);
    return good;
}

static void close_client(struct script *script, unsigned number)
{
    if (script->clients[number].open)
        script->transport->close(script->transport->data, number);
    script->clients[number].open = false;
}

static bool run_directive(struct script *script, char **words)
{
    const struct script_transport *transport = script->transport;
    if (strcmp(words[0], "message") == 0 && words[1] != NULL) {
        take_message(script, words[1]);
        return true;
    }
    if (strcmp(words[0], "clock") == 0 && words[1] != NULL)
        return transport->advance(transport->data, strtoll(words[1], NULL, 10) * G_USEC_PER_SEC) ||
               fail(script, "no clock");
    if (words[1] == NULL || !g_ascii_isupper(words[1][0]))
        return fail(script, "not a line of the language: %s", words[0]);
    unsigned number = (unsigned)(words[1][0] - 'A');
    if (strcmp(words[0], "open") == 0)
        return open_client(script, number, g_strcmp0(words[2], "cleartext") != 0);
    if (strcmp(words[0], "login") == 0 && words[2] != NULL)
        return login(script, number, words[2]);
    if (strcmp(words[0], "append") == 0)
        return append(script, number, words);
    if (strcmp(words[0], "starttls") == 0)
        return transport->start_tls(transport->data, number) || fail(script, "no TLS");
    if (strcmp(words[0], "compress") == 0)
        return transport->compress(transport->data, number) || fail(script, "no DEFLATE");
    if (strcmp(words[0], "close") == 0) {
        close_client(script, number);
        return true;
    }
    return fail(script, "not a line of the language: %s", words[0]);
}

static bool run_line(struct script *script, const char *line)
{
    if (*line == '\0' || *line == '#')
        return true;
    bool is_client = g_ascii_isupper(line[0]) && strchr(":~<>{!", line[1]) != NULL;
    if (!is_client) {
        char **words = g_strsplit(line, " ", -1);
        bool good = run_directive(script, words);
        g_strfreev(words);
        return good;
    }
    unsigned number = (unsigned)(line[0] - 'A');
    if (!script->clients[number].open)
        return fail(script, "client %c is not open", line[0]);
    const char *text = line[2] == ' ' ? line + 3 : line + 2;
    switch (line[1]) {
    case ':':
        return send_text(script, number, text, true);
    case '~':
        return send_text(script, number, text, false);
    case '<':
        return expect(script, number, text);
    case '>':
        return skip_to(script, number, text);
    case '{':
        return expect_group(script, number);
    default:
        return expect_nothing(script, number, strcmp(text, "closed") == 0);
    }
}

static bool run_lines(struct script *script)
{
    while (script->lines[script->line] != NULL) {
        const char *line = script->lines[script->line++];
        if (strcmp(line, "memory only") != 0 && !run_line(script, line))
            return false;
    }
    for (unsigned i = 0; i < SCRIPT_CLIENTS; i++) {
        char *rest = script->clients[i].open ? take_line(script, i, false) : NULL;
        if (rest == NULL)
            continue;
        fail(script, "client %c has not read %s", 'A' + i, rest);
        g_free(rest);
        return false;
    }
    return true;
}

static void free_message(gpointer message)
{
    g_string_free(message, TRUE);
}

enum script_result script_run(const char *path, const struct script_transport *transport,
                              GString *report)
{
    char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        g_string_append_printf(report, "can't read %s\n", path);
        return SCRIPT_FAILED;
    }
    struct script script = {.transport = transport, .report = report};
    script.lines = g_strsplit(text, "\n", -1);
    g_free(text);
    script.messages = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_message);
    script.variables = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (unsigned i = 0; i < SCRIPT_CLIENTS; i++)
        script.clients[i].in = g_byte_array_new();
    enum script_result result = SCRIPT_SKIPPED;
    if (transport->advance != NULL ||
        !g_strv_contains((const char *const *)script.lines, "memory only"))
        result = run_lines(&script) ? SCRIPT_PASSED : SCRIPT_FAILED;
    for (unsigned i = 0; i < SCRIPT_CLIENTS; i++) {
        close_client(&script, i);
        g_byte_array_unref(script.clients[i].in);
    }
    g_hash_table_unref(script.messages);
    g_hash_table_unref(script.variables);
    g_strfreev(script.lines);
    return result;
}

static int compare_paths(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *script_list(const char *directory)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(directory, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        if (g_str_has_suffix(name, ".imap"))
            g_ptr_array_add(paths, g_build_filename(directory, name, NULL));
    }
    if (dir != NULL)
        g_dir_close(dir);
    g_ptr_array_sort(paths, compare_paths);
    return paths;
}
