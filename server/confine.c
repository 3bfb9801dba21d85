#include "server/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

enum {
    CONFINE_FILES = 16, /* descriptors; character set converters are loaded from files */
};
#define CONFINE_MEMORY ((rlim_t)1024 * 1024 * 1024)

static bool limit(__rlimit_resource_t resource, rlim_t value)
{
    const struct rlimit both = {.rlim_cur = value, .rlim_max = value};

    return setrlimit(resource, &both) == 0;
}

static bool limit_resources(void)
{
    /* Sanitizers reserve terabytes of address space. */
    if (!SANITIZED && !limit(RLIMIT_AS, CONFINE_MEMORY))
        return false;
    return limit(RLIMIT_NOFILE, CONFINE_FILES) && limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0);
}

/* --- Landlock: which files --- */

static void allow_reading(int rules, const char *directory)
{
    struct landlock_path_beneath_attr beneath = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
        .parent_fd = open(directory, O_PATH | O_CLOEXEC),
    };

    if (beneath.parent_fd < 0)
        return;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    close(beneath.parent_fd);
}

static void limit_files(void)
{
    static const char *const directories[] = {"/usr", "/lib", "/lib64", "/etc"};
    /* Every right of the first version of the interface: all that is not allowed is denied. */
    const struct landlock_ruleset_attr attributes = {
        .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
    };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                             sizeof attributes.handled_access_fs, 0);

    if (rules < 0)
        return;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        allow_reading(rules, directories[i]);
    syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
}

/* --- seccomp: which system calls --- */

#ifdef ARCHITECTURE

/* clang-format off */
#define ALLOW(number)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1),                                           \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* clang-format on */

static void limit_calls(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_recvmsg),
        ALLOW(SYS_recvfrom),
        ALLOW(SYS_sendto),
        ALLOW(SYS_sendmsg),
        ALLOW(SYS_close),
        ALLOW(SYS_fstat),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_lseek),
        ALLOW(SYS_pread64),
        ALLOW(SYS_openat), /* Landlock says what */
        ALLOW(SYS_readlinkat),
        ALLOW(SYS_getdents64),
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_mremap),
        ALLOW(SYS_mprotect),
        ALLOW(SYS_madvise),
        ALLOW(SYS_brk),
        ALLOW(SYS_futex),
        ALLOW(SYS_getrandom),
        ALLOW(SYS_getrusage),
        ALLOW(SYS_prlimit64),
        ALLOW(SYS_setrlimit),
        ALLOW(SYS_getpid),
        ALLOW(SYS_gettid),
        ALLOW(SYS_tgkill), /* abort() */
        ALLOW(SYS_rt_sigaction),
        ALLOW(SYS_rt_sigprocmask),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_gettimeofday),
        ALLOW(SYS_sched_yield),
        ALLOW(SYS_exit),
        ALLOW(SYS_exit_group),
#ifdef SYS_open
        ALLOW(SYS_open),
        ALLOW(SYS_stat),
        ALLOW(SYS_access),
        ALLOW(SYS_readlink),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    const struct sock_fprog program = {
        .len = sizeof filter / sizeof *filter,
        .filter = filter,
    };

    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#else

static void limit_calls(void)
{
}

#endif

bool confine_self(void)
{
    pid_t parent = getppid();

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return false;
    if (getppid() != parent)
        return false; /* it ended before the signal was asked for */
    if (chdir("/") != 0 || !limit_resources())
        return false;
    if (!SANITIZED) {
        limit_files();
        limit_calls();
    }
    return true;
}
