#include "store/memory.h"

#ifdef ANNAL_JEMALLOC
#include <jemalloc/jemalloc.h>

/* What is free goes back after 2 seconds: a server may be left alone at any moment. */
const char *malloc_conf = "dirty_decay_ms:2000";

#define STRING_OF(number) #number
#define PURGE(arenas)     "arena." STRING_OF(arenas) ".purge"

void memory_give_back(void)
{
    mallctl(PURGE(MALLCTL_ARENAS_ALL), NULL, NULL, NULL, 0);
}
#else
#include <malloc.h>

void memory_give_back(void)
{
    malloc_trim(0);
}
#endif
