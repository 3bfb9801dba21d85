/* annal doctor: what might keep the server from doing its work */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_control.h"
#include "server/commands.h"
#include "server/doctor.h"
#include "server/json.h"
#include "server/log.h"
#include "server/privilege.h"

static const char USAGE[] =
    "usage: annal doctor [--json] [--data DIR] [--config FILE]\n"
    "Looks at configuration, certificate, permissions, disk, store, clock and limits, and at the\n"
    "running server if there is one, and says what to do. Exit status: 0 if nothing is wrong, "
    "though\n"
    "there may be warnings, 1 if something is.\n";

static const char *const verdicts[] = {
    [DOCTOR_GOOD] = "good", [DOCTOR_WARNING] = "warning", [DOCTOR_BAD] = "bad"};

/* False if there is no configuration to go on with; the finding says why. */
static bool look_at_configuration(struct doctor *doctor, struct config *config,
                                  const struct admin_control_options *options)
{
    const char *path = options->config;
    char *problem = NULL;
    bool read = true;

    if (path == NULL && access(ADMIN_CONFIG_PATH, F_OK) == 0)
        path = ADMIN_CONFIG_PATH;
    if (path != NULL)
        read = config_read(config, path, &problem);
    if (options->data != NULL) {
        g_free(config->data);
        config->data = g_strdup(options->data);
    }
    config_resolve(config);
    if (!read || !config_check(config, &problem))
        doctor_note(doctor, "configuration", DOCTOR_BAD,
                    "correct it; annal serve --check-config says when it is good", "%s", problem);
    else if (path != NULL)
        doctor_note(doctor, "configuration", DOCTOR_GOOD, NULL, "%s is good", path);
    else
        doctor_note(doctor, "configuration", DOCTOR_GOOD, NULL,
                    "there is no file %s: all is as by default", ADMIN_CONFIG_PATH);
    g_free(problem);
    return read;
}

static void look_at_all(struct doctor *doctor)
{
    char *problem = NULL;

    if (!privilege_become_owner(doctor->config->data, &problem))
        doctor_note(doctor, "permissions", DOCTOR_WARNING, NULL, "%s", problem);
    g_free(problem);
    doctor_look_at_server(doctor);
    doctor_look_at_certificate(doctor);
    doctor_look_at_files(doctor);
    doctor_look_at_users(doctor);
    doctor_look_at_disk(doctor);
    doctor_look_at_store(doctor);
    doctor_look_at_clock(doctor);
    doctor_look_at_machine(doctor);
    doctor_look_at_addresses(doctor);
}

static enum doctor_verdict worst(const struct doctor *doctor)
{
    enum doctor_verdict verdict = DOCTOR_GOOD;

    for (guint i = 0; i < doctor->findings->len; i++) {
        const struct doctor_finding *finding = g_ptr_array_index(doctor->findings, i);

        verdict = MAX(verdict, finding->verdict);
    }
    return verdict;
}

static void write_json(GString *out, const struct doctor *doctor)
{
    struct json json = {.out = out};

    json_begin_object(&json, NULL);
    json_text(&json, "verdict", verdicts[worst(doctor)]);
    json_begin_array(&json, "findings");
    for (guint i = 0; i < doctor->findings->len; i++) {
        const struct doctor_finding *finding = g_ptr_array_index(doctor->findings, i);

        json_begin_object(&json, NULL);
        json_text(&json, "check", finding->check);
        json_text(&json, "verdict", verdicts[finding->verdict]);
        json_text(&json, "text", finding->text);
        json_text(&json, "advice", finding->advice);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    g_string_append_c(out, '\n');
}

static void write_text(GString *out, const struct doctor *doctor)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const struct doctor_finding *finding = g_ptr_array_index(doctor->findings, i);
        char *text = g_strdup(finding->text);

        log_clean(text);
        g_string_append_printf(out, "%-8s %-14s %s\n", verdicts[finding->verdict], finding->check,
                               text);
        g_free(text);
        if (finding->advice == NULL)
            continue;
        text = g_strdup(finding->advice);
        log_clean(text);
        g_string_append_printf(out, "%-8s %-14s -> %s\n", "", "", text);
        g_free(text);
    }
}

int command_doctor(int argc, char **argv)
{
    struct admin_control_options options;
    struct config config;
    struct doctor doctor;
    int status = admin_control_parse(&options, argc, argv, USAGE);

    if (status >= 0)
        return status;
    if (optind != argc) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    config_init(&config);
    doctor_init(&doctor, &config);
    if (look_at_configuration(&doctor, &config, &options))
        look_at_all(&doctor);
    GString *out = g_string_new(NULL);

    if (options.json)
        write_json(out, &doctor);
    else
        write_text(out, &doctor);
    status = fputs(out->str, stdout) >= 0 && fflush(stdout) == 0 && worst(&doctor) != DOCTOR_BAD
                 ? ADMIN_DONE
                 : ADMIN_FAILED;
    g_string_free(out, TRUE);
    doctor_release(&doctor);
    config_release(&config);
    return status;
}
