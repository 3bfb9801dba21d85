"""A house of one's own for a test that is to work as a guide says it, word by word: the system's files
with everything that is written thrown away at the end, and a network where no port is taken. The
test's own process moves in, for good, with all that it starts. Unlike machine.py's, it has no
systemd and is as good in a chroot.
"""
import atexit
import ctypes
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile

from annal import PROGRAM, run
from readme import SOURCE, SUDO
from terminal import on_terminal

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000  # CLONE_NEWNS, CLONE_NEWNET
READ_FLAGS, WRITE_FLAGS, UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
COPIED = ("/etc", "/usr", "/var", "/home", "/srv")  # may be written to
EMPTY = ("/tmp", "/run")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
               "HOME": "/home/you", "LC_ALL": "C.UTF-8", "TERM": "xterm", "PAGER": "cat"}


def missing():
    """Why there can be no such house here; None if there can."""
    if os.geteuid() != 0:
        return "only root can make namespaces for it"
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "there is no overlay file system"
    if subprocess.run(["unshare", "--mount", "--net", "true"], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        return "this root may not make namespaces"
    return None


def move_in():
    """What is kept is what the tests are made of: sources and program."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="annal-house-", dir="/var/tmp"))
    # One who stays outside takes the empty directory away when this process is gone.
    keeper = subprocess.Popen(["sh", "-c", 'read _; rmdir "$1"', "sh", base],
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    atexit.register(keeper.communicate)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS | NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # In a chroot that is no mount of its own there is nothing that could be told to others.
    run("mount", "--make-rprivate", "/", ok=False)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", base)
    kept = {SOURCE, pathlib.Path(PROGRAM).resolve().parent}
    kept = [path for path in kept if str(path).startswith(tuple(f"{top}/" for top in
                                                                (*COPIED, *EMPTY)))]
    for number, path in enumerate(kept):
        (base / f"kept-{number}").mkdir()
        run("mount", "--rbind", path, base / f"kept-{number}")
    # The base itself is below one of them.
    holder = os.open(base, os.O_PATH)
    inside = pathlib.Path(f"/proc/{os.getpid()}/fd/{holder}")
    for top in COPIED:
        if os.path.isdir(top):
            for part in ("upper", "work"):
                (inside / top[1:] / part).mkdir(parents=True)
            run("mount", "-t", "overlay", "-o", f"lowerdir={top},upperdir={inside}{top}/upper,"
                f"workdir={inside}{top}/work", "overlay", top)
    for top in EMPTY:
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", top)
    for number, path in enumerate(kept):
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--rbind", inside / f"kept-{number}", path)
    os.close(holder)
    tempfile.tempdir = None
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, READ_FLAGS, request))
        fcntl.ioctl(any_socket, WRITE_FLAGS, struct.pack("16sH14x", b"lo", flags | UP))
    _furnish()


def _furnish():
    """As after an installation."""
    shutil.copy(PROGRAM, "/usr/bin/annal")
    sudo = pathlib.Path("/usr/bin/sudo")
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    run("adduser", "--system", "--group", "--home", "/var/lib/annal", "annal")
    pathlib.Path("/etc/annal").mkdir(exist_ok=True)
    shutil.copy(SOURCE / "scripts/system/annal.conf", "/etc/annal")
    # Where a build without --sysconfdir looks.
    for place in ("/usr/local/etc", "/usr/etc"):
        os.makedirs(place, exist_ok=True)
        if not os.path.exists(f"{place}/annal"):
            os.symlink("/etc/annal", f"{place}/annal")
    os.makedirs(ENVIRONMENT["HOME"], exist_ok=True)


def shell(text, directory=None, ok=True, **options):
    """Runs commands as they stand, in a shell that ends with the first that fails; their output."""
    os.makedirs(ENVIRONMENT["HOME"], exist_ok=True)
    variables = dict(ENVIRONMENT, **{name: value for name, value in os.environ.items()
                                     if name.endswith("SAN_OPTIONS")})
    variables.update(options.pop("env", {}))
    done = run("bash", "-euo", "pipefail", "-c", text, ok=ok, env=variables,
               cwd=directory or ENVIRONMENT["HOME"], **options)
    return done.stdout.decode() if ok else done


def terminal(text, answers=()):
    """The same on a terminal, for what asks; see on_terminal()."""
    return on_terminal(["bash", "-euc", text], answers, ENVIRONMENT["HOME"], ENVIRONMENT)
