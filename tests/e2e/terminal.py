"""Programs on a terminal of their own, with somebody who answers what they ask."""
import os
import pty
import select
import signal
import time


def shown_on_terminal(command, answers=(), directory=None, environment=None, limit=120):
    """Runs a command in exactly this environment (None: ours), and types each answer when its
    question stands there: pairs of the question's end and the answer. What the terminal showed, the
    status, and the answers never asked for."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(directory or os.curdir)
            os.execvpe(command[0], command, os.environ if environment is None else environment)
        finally:
            os._exit(127)
    answers = list(answers)
    shown = b""
    seen = 0
    ends = time.monotonic() + limit
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0, ends - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
        while answers and answers[0][0].encode() in shown[seen:]:
            question, answer = answers.pop(0)
            seen = shown.index(question.encode(), seen) + len(question)
            os.write(terminal, answer.encode())
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return shown, status, answers


def on_terminal(command, answers=(), directory=None, environment=None, limit=120):
    """The same with an environment that is added to ours: what was shown; the command must
    succeed."""
    shown, status, left = shown_on_terminal(command, answers, directory or "/",
                                            dict(os.environ, **(environment or {})), limit)
    if status != 0 or left:
        raise AssertionError(f"{command}\nended with {status}, never asked: {left}\n"
                             f"{shown.decode(errors='replace')}")
    return shown.decode(errors="replace")
