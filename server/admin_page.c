#include "server/admin_page.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/progress.h"

bool page_color_parse(enum page_color *out, const char *text)
{
    if (text == NULL || strcmp(text, "always") == 0)
        *out = PAGE_COLOR_ALWAYS;
    else if (strcmp(text, "auto") == 0)
        *out = PAGE_COLOR_AUTO;
    else if (strcmp(text, "never") == 0)
        *out = PAGE_COLOR_NEVER;
    else
        return false;
    return true;
}

/* --- the pager --- */

/* NULL: none is wanted. */
static const char *pager_command(void)
{
    const char *command = getenv("PAGER");

    if (command == NULL)
        return "less";
    return *command == '\0' || strcmp(command, "cat") == 0 ? NULL : command;
}

/* Stands in where there is no less. */
static void copy_through(void)
{
    char buffer[4096];
    ssize_t got;

    while ((got = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
        for (ssize_t done = 0, wrote; done < got; done += wrote) {
            wrote = write(STDOUT_FILENO, buffer + done, (size_t)(got - done));
            if (wrote < 0)
                _exit(1);
        }
    _exit(got == 0 ? 0 : 1);
}

static void run_pager(const char *command, const int ends[2])
{
    signal(SIGPIPE, SIG_DFL);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]); /* or copy_through() would wait for itself */
    setenv("LESS", "FRX", 0);
    setenv("LV", "-c", 0);
    if (getenv("PAGER") != NULL)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    else
        execlp(command, command, (char *)NULL);
    copy_through();
}

static void start_pager(struct page *page)
{
    const char *command = pager_command();
    int ends[2];

    if (command == NULL || pipe2(ends, O_CLOEXEC) != 0)
        return;
    fflush(stdout);
    page->pager = fork();
    if (page->pager == 0)
        run_pager(command, ends);
    if (page->pager > 0) {
        dup2(ends[1], STDOUT_FILENO);
        /* An interrupt is the pager's; when it ends, writing does. */
        signal(SIGINT, SIG_IGN);
        signal(SIGQUIT, SIG_IGN);
    } else
        page->pager = 0;
    close(ends[0]);
    close(ends[1]);
}

static bool want_color(enum page_color color, bool terminal)
{
    const char *no_color = getenv("NO_COLOR");
    const char *kind = getenv("TERM");

    if (color != PAGE_COLOR_AUTO)
        return color == PAGE_COLOR_ALWAYS;
    return terminal && (no_color == NULL || *no_color == '\0') && kind != NULL &&
           strcmp(kind, "dumb") != 0;
}

void page_begin(struct page *page, bool want_pager, enum page_color color)
{
    bool terminal = isatty(STDOUT_FILENO) == 1;

    *page = (struct page){.color = want_color(color, terminal)};
    page->wants_pager = terminal && want_pager;
    signal(SIGPIPE, SIG_IGN);
}

/* --- writing --- */

void page_style(const struct page *page, GString *out, enum page_style style, const char *text)
{
    static const char *const codes[] = {
        [PAGE_PLAIN] = "",  [PAGE_COMMIT] = "33",  [PAGE_ARRIVED] = "32",
        [PAGE_GONE] = "31", [PAGE_CHANGED] = "36", [PAGE_FAINT] = "2",
    };

    if (page->color && codes[style][0] != '\0')
        g_string_append_printf(out, "\033[%sm%s\033[m", codes[style], text);
    else
        g_string_append(out, text);
}

bool page_write(struct page *page, const void *data, size_t length)
{
    if (!page->written && length > 0) {
        page->written = true;
        progress_pause_shown();
        if (page->wants_pager)
            start_pager(page);
    }
    for (size_t done = 0; done < length && !page->closed && !page->failed;) {
        ssize_t wrote = write(STDOUT_FILENO, (const char *)data + done, length - done);

        if (wrote >= 0)
            done += (size_t)wrote;
        else if (errno == EPIPE)
            page->closed = true;
        else if (errno != EINTR) {
            page->failed = true;
            admin_complain("writing failed: %s", g_strerror(errno));
        }
    }
    return !page->closed && !page->failed;
}

bool page_end(struct page *page)
{
    int status;

    if (page->pager > 0) {
        close(STDOUT_FILENO);
        while (waitpid(page->pager, &status, 0) < 0 && errno == EINTR)
            continue;
        page->pager = 0;
    }
    return !page->failed;
}
