#include "protocol/argument.h"

#include <string.h>

const struct argument *argument_peek(const struct argument_cursor *cursor)
{
    return cursor->next < cursor->end ? argument_at(cursor->tree, cursor->next) : NULL;
}

const struct argument *argument_next(struct argument_cursor *cursor)
{
    const struct argument *argument = argument_peek(cursor);

    if (argument != NULL)
        cursor->next = argument->skip;
    return argument;
}

struct argument_cursor argument_elements(const struct argument_cursor *cursor,
                                         const struct argument *list)
{
    uint32_t index = (uint32_t)(list - argument_at(cursor->tree, 0));

    return (struct argument_cursor){cursor->tree, index + 1, list->skip};
}

bool argument_is_string(const struct argument *argument)
{
    return argument->kind == ARGUMENT_ATOM || argument->kind == ARGUMENT_QUOTED ||
           argument->kind == ARGUMENT_LITERAL;
}

bool argument_is_word(const struct argument_tree *tree, const struct argument *argument,
                      const char *word)
{
    return argument != NULL && argument->kind == ARGUMENT_ATOM &&
           argument->length == strlen(word) &&
           g_ascii_strcasecmp(argument_text(tree, argument), word) == 0;
}
