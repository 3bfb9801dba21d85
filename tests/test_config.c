#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/certificate.h"
#include "server/config.h"
#include "server/delivery.h"
#include "server/network.h"
#include "store/retention.h"

static char directory[64];
static char path[96];

static void setup(void)
{
    snprintf(directory, sizeof(directory), "%s", "/tmp/test-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/annal.conf", directory);
}

static void teardown(void)
{
    static const char *const names[] = {
        "annal.conf", "tls/certificate.pem", "tls/key.pem", "other.pem", "other.key", "tls", ""};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        char *name = g_strdup_printf("%s/%s", directory, names[i]);

        remove(name);
        g_free(name);
    }
}

static void write_config(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(defaults_listen_on_loopback_only)
{
    struct config config;

    config_init(&config);
    ck_assert_uint_eq(config.imaps->len, 1);
    ck_assert_str_eq(g_array_index(config.imaps, struct config_listen, 0).address, "127.0.0.1");
    ck_assert_uint_eq(g_array_index(config.imaps, struct config_listen, 0).port, 993);
    ck_assert_uint_eq(config.imap->len, 0);
    ck_assert(!config.cleartext_login);
    config_release(&config);
}
END_TEST

START_TEST(an_empty_file_changes_nothing)
{
    struct config config;
    char *problem = NULL;

    write_config("# nothing\n");
    config_init(&config);
    ck_assert_msg(config_read(&config, path, &problem), "%s", problem);
    ck_assert_uint_eq(config.imaps->len, 1);
    ck_assert_uint_eq(config.append_limit, 64 * 1024 * 1024);
    ck_assert_uint_eq(config.journal_size, 64 * 1024 * 1024);
    ck_assert_uint_eq(config.cache_budget, 256 * 1024 * 1024);
    ck_assert(!config.relaxed_flags);
    ck_assert_uint_eq(config.compress_days, 0);
    ck_assert_uint_eq(config.history_days, 90);
    ck_assert_ptr_null(config.signing_key);
    ck_assert_uint_eq(config.idle_minutes, 30);
    ck_assert_int_eq(config.log_target, CONFIG_LOG_STDERR);
    config_release(&config);
}
END_TEST

START_TEST(reads_every_option)
{
    struct config config;
    char *problem = NULL;

    write_config(
        "data = \"/srv/mail\"\nimaps = {\"0.0.0.0:993\", \"[::]:993\"}\nimap = {\"143\"}\n"
        "certificate = \"/c.pem\"\nprivate_key = \"/k.pem\"\nusers = \"/u\"\n"
        "cleartext_login = true\nworkers = 3\nmime_workers = 4\nappend_limit_mib = 10\n"
        "journal_mib = 8\ncache_budget = 8589934592\nflags_sync = relaxed\n"
        "cold_compression_days = 90\nhistory_keep = 30\nhistory_keep_of = {\"Archive=forever\", "
        "\"Trash=7\"}\nsigning_key = \"/s\"\nsigning_hours = 6\nidle_minutes = 45\nlogin_seconds = "
        "20\nconnections = 100\n"
        "connections_per_user = 7\nconnections_per_address = 8\nlog = syslog\n"
        "log_debug = true\n");
    config_init(&config);
    ck_assert_msg(config_read(&config, path, &problem), "%s", problem);
    ck_assert_str_eq(config.data, "/srv/mail");
    ck_assert_uint_eq(config.imaps->len, 2);
    ck_assert_str_eq(g_array_index(config.imaps, struct config_listen, 1).address, "::");
    ck_assert_uint_eq(config.imap->len, 1);
    ck_assert_uint_eq(g_array_index(config.imap, struct config_listen, 0).port, 143);
    ck_assert_str_eq(config.certificate, "/c.pem");
    ck_assert_str_eq(config.private_key, "/k.pem");
    ck_assert_str_eq(config.users, "/u");
    ck_assert(config.cleartext_login);
    ck_assert_uint_eq(config.workers, 3);
    ck_assert_uint_eq(config.mime_workers, 4);
    ck_assert_uint_eq(config.append_limit, 10 * 1024 * 1024);
    ck_assert_uint_eq(config.journal_size, 8 * 1024 * 1024);
    ck_assert_uint_eq(config.cache_budget, UINT64_C(8589934592));
    ck_assert(config.relaxed_flags);
    ck_assert_uint_eq(config.compress_days, 90);
    struct retention_policy *policy = config_retention(&config);
    ck_assert_int_eq(retention_policy_of(policy, "INBOX"), 30 * 86400);
    ck_assert_int_eq(retention_policy_of(policy, "Archive/2026"), RETENTION_FOREVER);
    ck_assert_int_eq(retention_policy_of(policy, "Trash"), 7 * 86400);
    retention_policy_free(policy);
    ck_assert_str_eq(config.signing_key, "/s");
    ck_assert_uint_eq(config.signing_hours, 6);
    ck_assert_uint_eq(config.idle_minutes, 45);
    ck_assert_uint_eq(config.login_seconds, 20);
    ck_assert_uint_eq(config.connections, 100);
    ck_assert_uint_eq(config.connections_per_user, 7);
    ck_assert_uint_eq(config.connections_per_address, 8);
    ck_assert_int_eq(config.log_target, CONFIG_LOG_SYSLOG);
    ck_assert(config.log_debug);
    config_release(&config);
}
END_TEST

START_TEST(reads_what_is_about_delivery)
{
    struct config config;
    char *problem = NULL;

    config_init(&config);
    ck_assert_uint_eq(config.lmtp->len, 0);
    ck_assert_uint_eq(config.lmtp_mode, 0660);
    ck_assert_uint_eq(config.lmtp_delimiter, '+');
    ck_assert_uint_eq(config.lmtp_detail, DELIVERY_DETAIL_MAILBOX);
    ck_assert_uint_eq(config.quota_octets, 0);
    ck_assert_uint_eq(config.quota_messages, 0);
    write_config("hostname = \"mail.example.org\"\nlmtp = {\"/run/lmtp\", \"127.0.0.1:24\", "
                 "\"[::1]:24\"}\nlmtp_mode = \"0666\"\nlmtp_group = \"mail\"\n"
                 "lmtp_connections = 9\nlmtp_recipient_delimiter = \"\"\nlmtp_detail = keyword\n"
                 "quota_mib = 3\nquota_messages = 4\nquota_count_history = true\n"
                 "quota_reply = permanent\n");
    ck_assert_msg(config_read(&config, path, &problem), "%s", problem);
    ck_assert_str_eq(config.hostname, "mail.example.org");
    ck_assert_uint_eq(config.lmtp->len, 3);
    ck_assert_str_eq(g_array_index(config.lmtp, struct config_listen, 0).address, "/run/lmtp");
    ck_assert_uint_eq(g_array_index(config.lmtp, struct config_listen, 1).port, 24);
    ck_assert_str_eq(g_array_index(config.lmtp, struct config_listen, 2).address, "::1");
    ck_assert_uint_eq(config.lmtp_mode, 0666);
    ck_assert_str_eq(config.lmtp_group, "mail");
    ck_assert_uint_eq(config.lmtp_connections, 9);
    ck_assert_uint_eq(config.lmtp_delimiter, 0);
    ck_assert_uint_eq(config.lmtp_detail, DELIVERY_DETAIL_KEYWORD);
    ck_assert_uint_eq(config.quota_octets, 3 << 20);
    ck_assert_uint_eq(config.quota_messages, 4);
    ck_assert(config.quota_count_history);
    ck_assert(config.quota_final);
    config_release(&config);
}
END_TEST

START_TEST(names_the_file_of_what_does_not_fit_together)
{
    struct config config;
    char *problem = NULL;

    write_config("imaps = {}\n");
    config_init(&config);
    ck_assert_msg(config_read(&config, path, &problem), "%s", problem);
    ck_assert(!config_check(&config, &problem));
    ck_assert(g_str_has_prefix(problem, path));
    ck_assert_str_eq(problem + strlen(path), ": nothing to listen on: set imaps or imap");
    g_free(problem);
    config_release(&config);
}
END_TEST

START_TEST(names_file_and_line_of_what_is_wrong)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"\nidel_minutes = 30\n", ":2: no such option 'idel_minutes'"},
        {"idle_minutes = 29\n", ":1: idle_minutes must be 30 to 1440"},
        {"# x\n\nworkers = -1\n", ":3: workers must be 0 to 64"},
        {"imaps = {\"127.0.0.1:99999\"}\n", ":1: imaps: '127.0.0.1:99999' is no ADDRESS:PORT"},
        {"imap = {\"localhost:143\"}\n", ":1: imap: 'localhost:143' is no ADDRESS:PORT"},
        {"# a\n// b\n/* c\n */\ndata = \"#//\" # d\nworkers = 99\n", ":6: workers must be 0 to 64"},
        {"workers = 2\ndata = \"\"\n", ":2: data must not be empty"},
        {"metrics_listen = {\"192.0.2.1:9100\"}\n",
         ":1: metrics_listen must be PORT, or ADDRESS:PORT with a loopback address"},
        {"metrics_listen = {\"9100\", \"0.0.0.0:9100\"}\n",
         ":1: metrics_listen must be PORT, or ADDRESS:PORT with a loopback address"},
        {"trusted = {\"192.0.2.0/24\", \"10.0.0.1/8\"}\n",
         ":1: trusted: '10.0.0.1/8' is no network such as 192.0.2.0/24 or 2001:db8::/32 (bits "
         "beyond the prefix must be 0)"},
        {"login_delay_ms = -1\n", ":1: login_delay_ms must be 0 to 10000"},
        {"login_delay_max_seconds = 61\n", ":1: login_delay_max_seconds must be 1 to 60"},
        {"lmtp = {\"0.0.0.0:24\"}\n",
         ":1: lmtp: '0.0.0.0:24' is neither a loopback ADDRESS:PORT nor the path of a socket of at "
         "most 107 octets (delivery asks for no password)"},
        {"lmtp_mode = \"0888\"\n", ":1: lmtp_mode must be octal digits such as \"0660\""},
        {"lmtp_recipient_delimiter = \"++\"\n",
         ":1: lmtp_recipient_delimiter must be empty or one punctuation character"},
        {"lmtp_detail = folder\n", ":1: lmtp_detail must be 'mailbox', 'keyword' or 'ignore'"},
        {"hostname = \"a b\"\n", ":1: hostname must be a name such as mail.example.org"},
        {"quota_mib = -1\n", ":1: quota_mib must be 0 to 2147483647"},
        {"quota_reply = never\n", ":1: quota_reply must be 'temporary' or 'permanent'"},
        {"flags_sync = no\n", ":1: flags_sync must be 'always' or 'relaxed'"},
        {"log = file\n", ":1: log must be 'stderr' or 'syslog'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct config config;
        char *problem = NULL;
        char *expected = g_strconcat(path, cases[i].problem, NULL);

        write_config(cases[i].text);
        config_init(&config);
        ck_assert(!config_read(&config, path, &problem));
        ck_assert_str_eq(problem, expected);
        g_free(problem);
        g_free(expected);
        config_release(&config);
    }
}
END_TEST

START_TEST(refuses_what_is_no_number_or_no_file)
{
    static const char *const texts[] = {"workers = many\n", "data = \"open\n", "imaps = {\n",
                                        "}\n"};
    struct config config;
    char *problem = NULL;

    config_init(&config);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        write_config(texts[i]);
        ck_assert_msg(!config_read(&config, path, &problem), "%s", texts[i]);
        ck_assert_ptr_nonnull(strstr(problem, "annal.conf"));
        g_clear_pointer(&problem, g_free);
    }
    unlink(path);
    ck_assert(!config_read(&config, path, &problem));
    ck_assert_ptr_nonnull(strstr(problem, "No such file"));
    g_free(problem);
    config_release(&config);
}
END_TEST

START_TEST(parses_listeners)
{
    static const struct {
        const char *text;
        const char *address; /* NULL: refused */
        unsigned port;
    } cases[] = {
        {"127.0.0.1:993", "127.0.0.1", 993},
        {"143", "127.0.0.1", 143},
        {"0", "127.0.0.1", 0},
        {"[::1]:65535", "::1", 65535},
        {"", NULL, 0},
        {":143", NULL, 0},
        {"[::1]", NULL, 0},
        {"::1:143", NULL, 0},
        {"127.0.0.1:", NULL, 0},
        {"127.0.0.1:65536", NULL, 0},
        {"127.0.0.1:+1", NULL, 0},
        {"127.0.0.1:1x", NULL, 0},
        {"127.0.0.256:1", NULL, 0},
        {"[127.0.0.1]:1", NULL, 0},
        {"4294967439", NULL, 0},
    };
    struct config config;

    config_init(&config);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        bool good = config_add_listen(config.imap, cases[i].text);

        ck_assert_msg(good == (cases[i].address != NULL), "%s", cases[i].text);
        if (good) {
            const struct config_listen *last =
                &g_array_index(config.imap, struct config_listen, config.imap->len - 1);

            ck_assert_str_eq(last->address, cases[i].address);
            ck_assert_uint_eq(last->port, cases[i].port);
        }
    }
    config_release(&config);
}
END_TEST

static char *check_problem(struct config *config)
{
    char *problem = NULL;
    bool good = config_check(config, &problem);

    ck_assert(good == (problem == NULL));
    return problem;
}

START_TEST(check_wants_a_certificate_and_its_key)
{
    char *certificate = g_strdup_printf("%s/other.pem", directory);
    char *key = g_strdup_printf("%s/other.key", directory);
    struct config config;
    char *problem = NULL;

    config_init(&config);
    g_free(config.data);
    config.data = g_strdup(directory);
    ck_assert_ptr_null(check_problem(&config)); /* neither default file: one will be made */
    ck_assert(config_certificate_is_default(&config));
    ck_assert(certificate_generate(config.certificate, config.private_key, &problem));
    ck_assert_ptr_null(check_problem(&config));

    ck_assert(certificate_generate(certificate, key, &problem));
    g_free(config.private_key);
    config.private_key = g_strdup(key);
    problem = check_problem(&config);
    ck_assert_ptr_nonnull(strstr(problem, "is not the key of"));
    g_clear_pointer(&problem, g_free);

    g_free(config.certificate);
    config.certificate = g_strdup(certificate);
    ck_assert_ptr_null(check_problem(&config));
    unlink(key);
    problem = check_problem(&config);
    ck_assert_ptr_nonnull(strstr(problem, "other.key: No such file"));
    g_free(problem);
    config_release(&config);
    g_free(certificate);
    g_free(key);
}
END_TEST

START_TEST(reads_whom_to_trust_and_where_to_be_watched)
{
    struct config config;
    char *problem = NULL;

    config_init(&config);
    ck_assert_uint_eq(config.trusted->len, 0);
    ck_assert_uint_eq(config.metrics->len, 0);
    write_config("trusted = {\"192.0.2.0/24\", \"::1\"}\ntrusted_cleartext_login = true\n"
                 "metrics_listen = {\"9100\", \"[::1]:9101\"}\ncontrol = \"/run/annal.control\"\n"
                 "login_delay_ms = 0\nlogin_delay_max_seconds = 60\ndisk_free_min_mib = 9\n");
    ck_assert_msg(config_read(&config, path, &problem), "%s", problem);
    config_resolve(&config);
    ck_assert_uint_eq(config.trusted->len, 2);
    ck_assert_uint_eq(g_array_index(config.trusted, struct network, 0).bits, 96 + 24);
    ck_assert(config.trusted_cleartext_login);
    ck_assert_uint_eq(g_array_index(config.metrics, struct config_listen, 1).port, 9101);
    ck_assert_str_eq(config.control, "/run/annal.control");
    ck_assert_uint_eq(config.login_delay, 0);
    ck_assert_uint_eq(config.login_delay_max, 60);
    ck_assert_uint_eq(config.disk_free_min_mib, 9);
    config_release(&config);
}
END_TEST

START_TEST(check_wants_a_listener)
{
    struct config config;
    char *problem;

    config_init(&config);
    g_array_set_size(config.imaps, 0);
    problem = check_problem(&config);
    ck_assert_ptr_nonnull(strstr(problem, "nothing to listen on"));
    g_free(problem);
    config_release(&config);
}
END_TEST

START_TEST(a_made_key_is_private)
{
    char *certificate = g_strdup_printf("%s/tls/certificate.pem", directory);
    char *key = g_strdup_printf("%s/tls/key.pem", directory);
    char *problem = NULL;
    struct stat status;

    ck_assert_msg(certificate_generate(certificate, key, &problem), "%s", problem);
    ck_assert_int_eq(stat(key, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    ck_assert(certificate_check(certificate, key, &problem));
    ck_assert(!certificate_check(key, key, &problem));
    ck_assert_ptr_nonnull(strstr(problem, "holds no PEM certificate"));
    g_free(problem);
    g_free(certificate);
    g_free(key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, defaults_listen_on_loopback_only);
    tcase_add_test(tcase, an_empty_file_changes_nothing);
    tcase_add_test(tcase, reads_every_option);
    tcase_add_test(tcase, names_file_and_line_of_what_is_wrong);
    tcase_add_test(tcase, reads_what_is_about_delivery);
    tcase_add_test(tcase, names_the_file_of_what_does_not_fit_together);
    tcase_add_test(tcase, refuses_what_is_no_number_or_no_file);
    tcase_add_test(tcase, parses_listeners);
    tcase_add_test(tcase, check_wants_a_certificate_and_its_key);
    tcase_add_test(tcase, reads_whom_to_trust_and_where_to_be_watched);
    tcase_add_test(tcase, check_wants_a_listener);
    tcase_add_test(tcase, a_made_key_is_private);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
