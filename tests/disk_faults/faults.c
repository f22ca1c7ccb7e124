/* A disk that fails: preloaded into a program, it has system calls on files below a directory fail.
 *
 * A filter in the kernel (seccomp) has these calls raise SIGSYS, whoever makes them and by whatever library, and the handler makes
 * them in the program's place, or does not. Calls of all threads are counted together, so a number names one of them.
 *
 *   FAULTS_BELOW   what a path contains of which calls are counted
 *   FAULTS_CALLS   the calls that are counted, with commas between: see `KNOWN`
 *   FAULTS_AT      which one, from 1; 0 is none
 *   FAULTS_WHAT    error (it is not done, and fails), late (it is done, and fails), short (a write is done by half),
 *                  kill (the process is killed before), dead (… after)
 *   FAULTS_ERROR   the number of the error
 *   FAULTS_LASTS   not empty: so are all that follow
 *   FAULTS_LOG     a file to which a line is appended for each that is counted: number, name, whether it was hit, path
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* No call that is filtered has six arguments: the sixth lets those through that are made here. */
#define MINE 0x7468616cUL

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define NUMBER(context) ((context)->uc_mcontext.gregs[REG_RAX])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
static const int ARGUMENTS[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8};
#define ARGUMENT(context, at) ((long)(context)->uc_mcontext.gregs[ARGUMENTS[at]])
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#define ARGUMENT(context, at) ((long)(context)->uc_mcontext.regs[at])
#else
#error "say where this processor has the arguments of a system call"
#endif

/* A call, and which of its arguments is the path that it is about: that of what becomes of it, if there are two. */
struct known {
    long number;
    const char *name;
    int path;
};

#define BY_DESCRIPTOR -1

static const struct known KNOWN[] = {
    {SYS_write, "write", BY_DESCRIPTOR},
    {SYS_pwrite64, "write", BY_DESCRIPTOR},
    {SYS_writev, "write", BY_DESCRIPTOR},
    {SYS_read, "read", BY_DESCRIPTOR},
    {SYS_pread64, "read", BY_DESCRIPTOR},
    {SYS_fsync, "fsync", BY_DESCRIPTOR},
    {SYS_fdatasync, "fdatasync", BY_DESCRIPTOR},
    {SYS_ftruncate, "truncate", BY_DESCRIPTOR},
    {SYS_flock, "lock", BY_DESCRIPTOR},
    {SYS_getdents64, "list", BY_DESCRIPTOR},
    {SYS_openat, "open", 1},
    {SYS_mkdirat, "mkdir", 1},
    {SYS_unlinkat, "unlink", 1},
    {SYS_renameat2, "rename", 3},
    {SYS_linkat, "link", 3},
#ifdef SYS_open
    {SYS_open, "open", 0},
    {SYS_mkdir, "mkdir", 0},
    {SYS_unlink, "unlink", 0},
    {SYS_rename, "rename", 1},
    {SYS_link, "link", 1},
#endif
#ifdef SYS_renameat
    {SYS_renameat, "rename", 3},
#endif
};
#define KINDS (sizeof KNOWN / sizeof *KNOWN)

static const char *below, *calls, *what;
static unsigned long at, counted;
static int error, lasts, report = -1;

/* Whether `name` is one of those that are counted. */
static int is_counted(const char *name) {
    size_t length = strlen(name);
    for (const char *found = calls; (found = strstr(found, name)); found += length)
        if ((found == calls || found[-1] == ',') && (found[length] == ',' || !found[length]))
            return 1;
    return 0;
}

static long make(long number, ucontext_t *context, const long *instead) {
    long arguments[5];
    for (int i = 0; i < 5; i++)
        arguments[i] = instead ? instead[i] : ARGUMENT(context, i);
    long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], MINE);
    return result == -1 ? -errno : result;
}

static void handle(int signal, siginfo_t *info, void *raw) {
    (void)signal;
    ucontext_t *context = raw;
    long number = info->si_syscall;
    int before = errno;
    const struct known *known = NULL;
    for (size_t kind = 0; kind < KINDS && !known; kind++)
        if (KNOWN[kind].number == number)
            known = &KNOWN[kind];
    const char *name = known->name;
    /* A file that is to be made is another matter than one that is there. */
    int flags = known->path == 1 ? 2 : 1;
    if (!strcmp(name, "open") && (ARGUMENT(context, flags) & O_CREAT))
        name = "create";
    char path[PATH_MAX + 1] = "";
    if (known->path == BY_DESCRIPTOR) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%ld", ARGUMENT(context, 0));
        ssize_t length = readlink(link, path, PATH_MAX);
        path[length > 0 ? length : 0] = 0;
    } else if (ARGUMENT(context, known->path)) {
        snprintf(path, sizeof path, "%s", (const char *)ARGUMENT(context, known->path));
    }
    if (!is_counted(name) || !strstr(path, below)) {
        RESULT(context) = make(number, context, NULL);
        errno = before;
        return;
    }
    unsigned long mine = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    int hit = at && (mine == at || (lasts && mine > at));
    if (report >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%lu %s %d %s\n", mine, name, hit, path);
        syscall(SYS_write, report, line, length, 0, 0, MINE);
    }
    long result;
    if (!hit) {
        result = make(number, context, NULL);
    } else if (!strcmp(what, "short") && number == SYS_write && ARGUMENT(context, 2) > 1) {
        long half[5] = {ARGUMENT(context, 0), ARGUMENT(context, 1), ARGUMENT(context, 2) / 2, 0, 0};
        result = make(number, context, half);
    } else {
        if (!strcmp(what, "kill"))
            kill(getpid(), SIGKILL);
        int done = strcmp(what, "error") != 0;
        result = done ? make(number, context, NULL) : 0;
        if (!strcmp(what, "dead"))
            kill(getpid(), SIGKILL);
        /* What it has opened nobody will close. */
        if (done && result >= 0 && known->path != BY_DESCRIPTOR && strstr("open create", name))
            close(result);
        if (strcmp(what, "short"))
            result = -error;
    }
    RESULT(context) = result;
    errno = before;
}

static const char *told(const char *variable) {
    const char *value = getenv(variable);
    return value ? value : "";
}

__attribute__((constructor)) static void begin(void) {
    below = told("FAULTS_BELOW"), calls = told("FAULTS_CALLS"), what = told("FAULTS_WHAT");
    at = strtoul(told("FAULTS_AT"), NULL, 10), error = atoi(told("FAULTS_ERROR"));
    lasts = *told("FAULTS_LASTS") != 0;
    report = open(told("FAULTS_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);

    struct sock_filter filter[7 + KINDS];
    size_t end = 0;
#define LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
    filter[end++] = LOAD(arch);
    filter[end++] = JUMP(ARCHITECTURE, 0, 3 + KINDS);
    filter[end++] = LOAD(args[5]);
    filter[end++] = JUMP(MINE, 1 + KINDS, 0);
    filter[end++] = LOAD(nr);
    for (size_t kind = 0; kind < KINDS; kind++)
        filter[end++] = JUMP(KNOWN[kind].number, KINDS - kind, 0);
    filter[end++] = RETURN(SECCOMP_RET_ALLOW);
    filter[end++] = RETURN(SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = end, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("cannot have the disk fail");
        _exit(99);
    }
}
