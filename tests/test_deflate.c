#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "server/deflate.h"

/* Compresses all of data with an out buffer of the given size, and flushes. */
static GByteArray *compressed(struct deflate *codec, const void *data, size_t length, size_t size)
{
    GByteArray *out = g_byte_array_new();
    uint8_t *buffer = g_malloc(size);
    const uint8_t *in = data;
    size_t got;

    do {
        size_t taken = length;

        got = size;
        deflate_compress(codec, in, &taken, buffer, &got, true);
        g_byte_array_append(out, buffer, (guint)got);
        in += taken;
        length -= taken;
    } while (length > 0 || got == size);
    g_free(buffer);
    return out;
}

/* Expands data, given in pieces of step octets, into a buffer of the given size. */
static GByteArray *expanded(struct deflate *codec, const GByteArray *data, size_t step, size_t size)
{
    GByteArray *out = g_byte_array_new();
    uint8_t *buffer = g_malloc(size);
    size_t done = 0;

    while (done < data->len) {
        size_t piece = MIN(step, data->len - done);
        size_t got;

        do {
            size_t taken = piece;

            got = size;
            ck_assert_int_eq(deflate_expand(codec, data->data + done, &taken, buffer, &got),
                             DEFLATE_OK);
            ck_assert_uint_le(got, size);
            g_byte_array_append(out, buffer, (guint)got);
            done += taken;
            piece -= taken;
        } while (piece > 0 || got == size);
    }
    g_free(buffer);
    return out;
}

static const struct {
    size_t step; /* input octets at a time */
    size_t size; /* of the buffers */
} shapes[] = {{1, 7}, {1, 4096}, {3, 9}, {100, 16384}, {100000, 7}, {100000, 64}, {100000, 100000}};

START_TEST(test_deflate__gives_back_every_flushed_batch)
{
    struct deflate *codec = deflate_new();
    GString *text = g_string_new(NULL);

    for (int i = 0; i < 3; i++) {
        g_string_append_printf(text, "* %d FETCH (FLAGS (\\Seen) UID %d)\r\n", i * 7919,
                               i * 104729);
        for (int k = 0; k < 5000 * i; k++)
            g_string_append_c(text, (char)(k * k % 251));
        GByteArray *wire = compressed(codec, text->str, text->len, shapes[_i].size);
        GByteArray *back = expanded(codec, wire, shapes[_i].step, shapes[_i].size);

        ck_assert_uint_eq(back->len, text->len);
        ck_assert_mem_eq(back->data, text->str, text->len);
        g_byte_array_unref(wire);
        g_byte_array_unref(back);
    }
    g_string_free(text, TRUE);
    deflate_free(codec);
}
END_TEST

START_TEST(test_deflate__expands_a_bomb_only_as_far_as_there_is_room)
{
    struct deflate *codec = deflate_new();
    uint8_t *zeros = g_malloc0(10 * 1024 * 1024);
    GByteArray *wire = compressed(codec, zeros, 10 * 1024 * 1024, 16384);
    uint8_t buffer[1000];
    size_t taken = wire->len;
    size_t got = sizeof buffer;

    ck_assert_uint_lt(wire->len, 64 * 1024);
    ck_assert_int_eq(deflate_expand(codec, wire->data, &taken, buffer, &got), DEFLATE_OK);
    ck_assert_uint_eq(got, sizeof buffer);
    ck_assert_uint_lt(taken, wire->len);
    g_byte_array_unref(wire);
    g_free(zeros);
    deflate_free(codec);
}
END_TEST

static const struct {
    const char *data;
    size_t length;
    enum deflate_result result;
} inputs[] = {
    {"\x03\x00", 2, DEFLATE_END},
    {"\xff\xff\xff", 3, DEFLATE_BAD},
    {"a001 NOOP\r\n", 11, DEFLATE_BAD},
    {"", 0, DEFLATE_OK},
};

START_TEST(test_deflate__tells_end_and_garbage)
{
    struct deflate *codec = deflate_new();
    uint8_t buffer[100];
    size_t taken = inputs[_i].length;
    size_t got = sizeof buffer;

    ck_assert_int_eq(deflate_expand(codec, inputs[_i].data, &taken, buffer, &got),
                     inputs[_i].result);
    deflate_free(codec);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deflate");
    TCase *tcase = tcase_create("deflate");
    SRunner *runner = srunner_create(suite);

    tcase_add_loop_test(tcase, test_deflate__gives_back_every_flushed_batch, 0,
                        G_N_ELEMENTS(shapes));
    tcase_add_test(tcase, test_deflate__expands_a_bomb_only_as_far_as_there_is_room);
    tcase_add_loop_test(tcase, test_deflate__tells_end_and_garbage, 0, G_N_ELEMENTS(inputs));
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
