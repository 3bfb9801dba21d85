/* Texts, each kept once and known by its place: a number from 0 in the order of coming. */
#ifndef ANNAL_SERVER_TEXT_PLACES_H
#define ANNAL_SERVER_TEXT_PLACES_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_places {
    GHashTable *places;
    GPtrArray *texts; /* char *, owned */
    size_t octets;    /* of all of them */
};

void text_places_init(struct text_places *places);
void text_places_release(struct text_places *places);

/* The text's place, given to it if it has none. */
uint32_t text_places_add(struct text_places *places, const char *text);
uint32_t text_places_count(const struct text_places *places);
const char *text_places_text(const struct text_places *places, uint32_t place);

#endif
