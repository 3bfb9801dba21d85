#include "store/internal/branch_name.h"

#include <glib.h>
#include <string.h>

#include "store/account.h"

static const char escaped_bytes[] = "._%~^:?*[\\";

static void append_escaped(GString *out, char c)
{
    g_string_append_printf(out, "%%%02X", (unsigned char)c);
}

/* RFC 6855 section 3 bans these from mailbox names; in a branch name they would reach an
 * admin's terminal. */
static bool is_control(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

static int check_characters(const char *mailbox, struct store_error *error)
{
    if (!g_utf8_validate(mailbox, -1, NULL)) {
        return store_error_set(error, STORE_BAD_NAME, "mailbox name is not UTF-8");
    }
    for (const char *p = mailbox; *p != '\0'; p = g_utf8_next_char(p)) {
        if (is_control(g_utf8_get_char(p))) {
            return store_error_set(error, STORE_BAD_NAME, "control character in mailbox name");
        }
    }
    return 0;
}

static int check_levels(const char *mailbox, struct store_error *error)
{
    int levels = 1;
    size_t length = strlen(mailbox);

    if (length == 0 || mailbox[0] == '/' || mailbox[length - 1] == '/' ||
        strstr(mailbox, "//") != NULL) {
        return store_error_set(error, STORE_BAD_NAME, "empty level in mailbox name");
    }
    for (const char *p = mailbox; *p != '\0'; p++) {
        levels += *p == '/';
    }
    if (levels > MAILBOX_DEPTH_MAX) {
        return store_error_set(error, STORE_BAD_NAME, "mailbox name has %d levels", levels);
    }
    return 0;
}

/* Whether git would refuse or misread the character at p where it stands in the name. */
static bool escape_in_place(const char *mailbox, const char *p)
{
    switch (*p) {
    case '-':
        return p == mailbox;
    case '@':
        return p[1] == '{' || strcmp(mailbox, "@") == 0;
    case 'l':
        return strcmp(p, "lock") == 0 && (p == mailbox || p[-1] == '/');
    case 'H':
        return p == mailbox && strcmp(mailbox, "HEAD") == 0;
    default:
        return false;
    }
}

static void encode(GString *out, const char *mailbox)
{
    const char *p = mailbox;

    if (g_ascii_strncasecmp(mailbox, "INBOX", 5) == 0 && (p[5] == '\0' || p[5] == '/')) {
        g_string_append(out, "INBOX");
        p += 5;
    }
    for (; *p != '\0'; p++) {
        if (*p == '/') {
            g_string_append_c(out, '.');
        } else if (*p == ' ') {
            g_string_append_c(out, '_');
        } else if (strchr(escaped_bytes, *p) != NULL || escape_in_place(mailbox, p)) {
            append_escaped(out, *p);
        } else {
            g_string_append_c(out, *p);
        }
    }
}

int branch_name_encode(char **out, const char *mailbox, struct store_error *error)
{
    /* No octet's encoding is shorter than the octet. */
    if (strlen(mailbox) > MAILBOX_NAME_MAX) {
        return store_error_set(error, STORE_BAD_NAME, "mailbox name is too long");
    }
    int result = check_characters(mailbox, error);
    if (result == 0) {
        result = check_levels(mailbox, error);
    }
    if (result < 0) {
        return result;
    }
    GString *branch = g_string_new(NULL);
    encode(branch, mailbox);
    if (branch->len > MAILBOX_NAME_MAX) {
        g_string_free(branch, TRUE);
        return store_error_set(error, STORE_BAD_NAME, "mailbox name is too long");
    }
    *out = g_string_free(branch, FALSE);
    return 0;
}

char *branch_name_of_encoding(const char *branch)
{
    GString *name = g_string_new(NULL);

    for (const char *p = branch; *p != '\0'; p++) {
        if (*p == '%' && g_ascii_isxdigit(p[1]) && g_ascii_isxdigit(p[2])) {
            g_string_append_c(name,
                              (char)(g_ascii_xdigit_value(p[1]) << 4 | g_ascii_xdigit_value(p[2])));
            p += 2;
        } else {
            g_string_append_c(name, *p == '.' ? '/' : *p == '_' ? ' ' : *p);
        }
    }
    return g_string_free(name, FALSE);
}

int branch_name_decode(char **out, const char *branch, struct store_error *error)
{
    if (strlen(branch) > MAILBOX_NAME_MAX) {
        return store_error_set(error, STORE_BAD_NAME, "branch name is too long");
    }
    g_autofree char *name = branch_name_of_encoding(branch);
    /* Encoding again refuses every other spelling (lower-case hex, needless escapes, %00). */
    g_autofree char *again = NULL;
    if (branch_name_encode(&again, name, error) < 0 || strcmp(again, branch) != 0) {
        return store_error_set(error, STORE_BAD_NAME, "branch is not a mailbox's");
    }
    *out = g_steal_pointer(&name);
    return 0;
}
