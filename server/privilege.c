#include "server/privilege.h"

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORDS = _LINUX_CAPABILITY_U32S_3 };

static void allow(struct __user_cap_data_struct *rights, unsigned capability)
{
    rights[capability / 32].permitted |= UINT32_C(1) << capability % 32;
    rights[capability / 32].effective |= UINT32_C(1) << capability % 32;
}

static bool keep_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct rights[WORDS] = {{0}};

    allow(rights, CAP_DAC_OVERRIDE);
    allow(rights, CAP_DAC_READ_SEARCH);
    allow(rights, CAP_NET_BIND_SERVICE);
    return syscall(SYS_capset, &header, rights) == 0;
}

static bool set_groups(uid_t user, gid_t group)
{
    const struct passwd *entry = getpwuid(user);

    if (entry != NULL)
        return initgroups(entry->pw_name, group) == 0;
    return setgroups(1, &group) == 0;
}

bool privilege_become_owner(const char *directory, char **problem)
{
    struct stat status;

    if (geteuid() != 0 || stat(directory, &status) != 0 || status.st_uid == 0)
        return true;
    if (set_groups(status.st_uid, status.st_gid) &&
        setresgid(status.st_gid, status.st_gid, status.st_gid) == 0 &&
        prctl(PR_SET_KEEPCAPS, 1) == 0 &&
        setresuid(status.st_uid, status.st_uid, status.st_uid) == 0 && keep_rights())
        return true;
    *problem = g_strdup_printf("becoming the owner of %s: %s", directory, g_strerror(errno));
    return false;
}
