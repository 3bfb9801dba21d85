#include "server/text_places.h"

#include <string.h>

void text_places_init(struct text_places *places)
{
    *places = (struct text_places){
        .places = g_hash_table_new(g_str_hash, g_str_equal),
        .texts = g_ptr_array_new_with_free_func(g_free),
    };
}

void text_places_release(struct text_places *places)
{
    g_hash_table_destroy(places->places);
    g_ptr_array_unref(places->texts);
}

uint32_t text_places_add(struct text_places *places, const char *text)
{
    void *place = g_hash_table_lookup(places->places, text);

    if (place == NULL) {
        char *kept = g_strdup(text);

        places->octets += strlen(text) + 1;
        g_ptr_array_add(places->texts, kept);
        place = GUINT_TO_POINTER(places->texts->len);
        g_hash_table_insert(places->places, kept, place);
    }
    return GPOINTER_TO_UINT(place) - 1;
}

uint32_t text_places_count(const struct text_places *places)
{
    return places->texts->len;
}

const char *text_places_text(const struct text_places *places, uint32_t place)
{
    return g_ptr_array_index(places->texts, place);
}
