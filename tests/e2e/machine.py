"""A machine of its own for a test, without a virtual one: systemd as process 1 in new namespaces,
over a copy of this system's files that is thrown away. Nothing but what the test starts runs in it.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from readme import SUDO

# A control group of its own, named as the directory $base is, below that of the test. What systemd
# makes in it stays in it; with only a new namespace it would be what other machines have, too.
GROUP = r"""
set -eu
base=$1
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$base"
group=$base$(sed -n 's/^0:://p' /proc/self/cgroup)/${base##*/}
"""
ENTER = GROUP + r"""
mkdir "$group"
echo 0 >"$group/cgroup.procs"
umount "$base"
exec unshare --cgroup sh -c "$2" boot "$base"
"""
LEAVE = GROUP + r"""
[ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
"""
BOOT = r"""
set -eu
base=$1
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
cd "$base/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts dev/mqueue dev/hugepages
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
rm -f usr/sbin/policy-rc.d
# Of the system's own units none starts.
units=etc/systemd/system
mkdir -p "$units"
for unit in sysinit basic sockets network test; do
    rm -f "$units/$unit.target"
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\nAllowIsolate=yes\n' "$unit" \
        >"$units/$unit.target"
done
rm -rf lib/systemd/system/*.target.wants etc/systemd/system/*.wants
# A mere chroot may not make namespaces for users.
pivot_root . mnt
cd /
umount -l mnt
export container=test
exec lib/systemd/systemd --system --unit=test.target --log-target=journal --log-level=info \
    --show-status=no
"""


def missing():
    """Why there can be no such machine here; None if there can."""
    if os.geteuid() != 0:
        return "only root can make namespaces for it"
    if not os.path.exists("/lib/systemd/systemd"):
        return "systemd is not installed"
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    if not any(mount.split()[4] == "/" for mount in mounts):
        return "this is a chroot"
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "there is no overlay file system"
    for tool in ("unshare", "nsenter"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"],
                      stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "this root may not make namespaces"
    with tempfile.TemporaryDirectory(prefix="annal-machine-") as base:
        attempt = GROUP + 'mkdir "$group"; rmdir "$group"'
        if subprocess.run(["unshare", "--mount", "sh", "-c", attempt, "try", base],
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            return "this root may not make control groups"
    return None


ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}


class Machine:
    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="annal-machine-", dir="/var/tmp"))
        self.output = tempfile.TemporaryFile()
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child",
             "sh", "-c", ENTER, "enter", str(self.base), BOOT],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        limit = time.monotonic() + 60
        self.pid = None
        while self.pid is None or self.run("systemctl", "is-active", "test.target",
                                           ok=False).returncode != 0:
            if time.monotonic() > limit or self.holder.poll() is not None:
                said = self.said()
                try:
                    self.close()
                finally:
                    raise AssertionError(f"the machine does not start:\n{said}")
            time.sleep(0.1)
            self.pid = self.find_first()
        self.run("systemctl", "start", "systemd-journald.service")
        sudo = self.path("/usr/local/bin/sudo")
        sudo.write_text(SUDO)
        sudo.chmod(0o755)

    def find_first(self):
        children = pathlib.Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        found = children.read_text().split()
        if not found or "systemd" not in pathlib.Path(f"/proc/{found[0]}/comm").read_text():
            return None
        return int(found[0])

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def inside(self):
        """What stands in front of a command that is to run in it."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--uts", "--ipc", "--net",
                "--cgroup", "--wdns=/root"]

    def run(self, *command, ok=True, timeout=120, **options):
        done = subprocess.run([*self.inside(), *map(str, command)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False,
                              env=ENVIRONMENT, **options)
        if ok and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout.decode()}\n"
                                 f"{done.stderr.decode()}\n{self.journal()}")
        return done

    def shell(self, text, directory="/root", **options):
        """Commands of a guide as they stand there, up to the first that fails; their output."""
        return self.text("env", f"--chdir={directory}", "bash", "-euc", text, **options)

    def state(self, unit, what="ActiveState"):
        return self.text("systemctl", "show", "--value", "--property", what, unit)

    def text(self, *command, **options):
        return self.run(*command, **options).stdout.decode().strip()

    def journal(self):
        """What all services have logged."""
        return self.text("journalctl", "--no-pager", "--output=cat", ok=False)

    def path(self, path):
        """Where a file of the machine is, seen from outside."""
        return pathlib.Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def close(self):
        if self.holder.poll() is None:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)  # and with process 1 all others
            else:
                self.holder.kill()
            self.holder.wait()
        self.output.close()
        for tries in reversed(range(100)):  # one who has just ended may still count as there
            if subprocess.run(["unshare", "--mount", "sh", "-c", LEAVE, "leave", str(self.base)],
                              stderr=subprocess.DEVNULL if tries else None,
                              check=not tries).returncode == 0:
                break
            time.sleep(0.1)
        self.base.rmdir()
