#include "server/message_summary.h"

#include "protocol/mime_parse.h"

void message_summary_delivered(struct account *account, struct spool *spool)
{
    const struct object_id *blob = spool_id(spool);
    size_t length;

    if (spool_size(spool) > SUMMARY_AT_DELIVERY_MAX ||
        account_derived_has(account, blob, SUMMARY_KIND)) {
        return;
    }
    const uint8_t *data = spool_head(spool, &length);
    struct structure *structure = mime_parse(data, length, false, &mime_bounds_small);
    if (structure == NULL) {
        return;
    }
    GByteArray *record = g_byte_array_new();
    summary_write(record, structure, length);
    account_derived_put(account, blob, SUMMARY_KIND, record->data, record->len);
    g_byte_array_unref(record);
    structure_free(structure);
}
