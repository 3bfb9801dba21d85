/* Where a command's listing goes: through a pager if it goes to a terminal, in colour if that is
 * wanted. The end of whoever reads it ("| head", a pager that was left) is no failure. */
#ifndef ANNAL_SERVER_ADMIN_PAGE_H
#define ANNAL_SERVER_ADMIN_PAGE_H

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum page_color { PAGE_COLOR_AUTO, PAGE_COLOR_ALWAYS, PAGE_COLOR_NEVER };

/* "auto", "always", "never"; NULL is "always". False for anything else. */
bool page_color_parse(enum page_color *out, const char *text);

enum page_style { PAGE_PLAIN, PAGE_COMMIT, PAGE_ARRIVED, PAGE_GONE, PAGE_CHANGED, PAGE_FAINT };

struct page {
    pid_t pager; /* 0: none */
    bool wants_pager;
    bool written; /* something was */
    bool color;
    bool closed; /* nobody reads any more */
    bool failed; /* it can't be written */
};

/* From now on page_write() is the way to stdout. The first time it starts $PAGER, or less, where
 * stdout is a terminal and want_pager; SIGPIPE is ignored from now on. NO_COLOR, TERM=dumb and
 * PAGER=cat are heeded. */
void page_begin(struct page *page, bool want_pager, enum page_color color);
/* Appends text in a style, if there are colours. */
void page_style(const struct page *page, GString *out, enum page_style style, const char *text);
/* Writes at once, after wiping a bar (progress.h); false when there is no use in writing more. */
bool page_write(struct page *page, const void *data, size_t length);
/* Waits for the pager; tells of what could not be written. True if all was, or nobody wanted it. */
bool page_end(struct page *page);

#endif
