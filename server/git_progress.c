#include "server/git_progress.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

static const struct {
    const char *text;
    enum observer_stage stage;
} STEPS[] = {
    {"Enumerating objects", OBSERVER_OBJECTS}, {"Counting objects", OBSERVER_OBJECTS},
    {"Compressing objects", OBSERVER_OBJECTS}, {"Writing objects", OBSERVER_WRITE},
    {"Receiving objects", OBSERVER_UNPACK},    {"Indexing objects", OBSERVER_UNPACK},
    {"Resolving deltas", OBSERVER_DELTAS},
};

void git_progress_init(struct git_progress *progress,
                       void (*step)(const struct git_step *step, void *data),
                       void (*line)(const char *line, void *data), void *data)
{
    progress->step = step;
    progress->line = line;
    progress->data = data;
    progress->length = 0;
}

static bool take_number(uint64_t *out, const char **at)
{
    char *end;

    if (!g_ascii_isdigit(**at))
        return false;
    *out = g_ascii_strtoull(*at, &end, 10);
    *at = end;
    return true;
}

/* " 50% (1/2)" or " 12", and perhaps ", done." or a rate. */
static bool take_amounts(struct git_step *step, const char *at)
{
    uint64_t number;

    at += strspn(at, " ");
    if (!take_number(&number, &at))
        return false;
    if (*at != '%') {
        step->done = number;
        step->total = 0;
        return *at == '\0' || *at == ',' || *at == ' ';
    }
    at++;
    at += strspn(at, " ");
    if (*at++ != '(' || !take_number(&step->done, &at) || *at++ != '/')
        return false;
    return take_number(&step->total, &at) && *at == ')';
}

static bool read_step(struct git_step *step, const char *line)
{
    for (size_t i = 0; i < G_N_ELEMENTS(STEPS); i++) {
        size_t length = strlen(STEPS[i].text);

        if (strncmp(line, STEPS[i].text, length) == 0 && line[length] == ':') {
            step->stage = STEPS[i].stage;
            return take_amounts(step, line + length + 1);
        }
    }
    return false;
}

/* "Total 12 (delta 3), reused 12 (delta 3), pack-reused 0" */
static bool is_summary(const char *line)
{
    return g_str_has_prefix(line, "Total ") && strstr(line, "pack-reused") != NULL;
}

static void end_line(struct git_progress *progress)
{
    struct git_step step;

    progress->text[progress->length] = '\0';
    progress->length = 0;
    if (read_step(&step, progress->text))
        progress->step(&step, progress->data);
    else if (progress->text[strspn(progress->text, " ")] != '\0' && !is_summary(progress->text))
        progress->line(progress->text, progress->data);
}

void git_progress_feed(struct git_progress *progress, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool end = data[i] == '\r' || data[i] == '\n';

        if (end || progress->length == GIT_LINE_MAX)
            end_line(progress);
        if (!end)
            progress->text[progress->length++] = data[i] != '\0' ? data[i] : ' ';
    }
}

void git_progress_end(struct git_progress *progress)
{
    if (progress->length > 0)
        end_line(progress);
}
