"""A child process for graphs from someone else: TensorFlow may crash or take all memory."""

import contextlib
import faulthandler
import io
import os
import signal
import sys
import tempfile
from typing import IO, Any, Iterable, Iterator

from permafrost import machine
from permafrost.cli import console
from permafrost.cli.child_process import end_with_parent
from permafrost.cli.ending_signals import ENDING_SIGNALS, on_ending_signals
from permafrost.errors import one_line, printable

# TensorFlow 2.21 recurses for each node of a chain. Linux keeps at least 128 MB free for a stack.
STACK_BYTES = 120 << 20
# Signals of a terminal (Ctrl-C, Ctrl-\, hanging up) go to all processes in its foreground.
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
SI_KERNEL = 0x80  # siginfo_t.si_code on Linux: sent by the kernel, as for a terminal
MEMORY_SHARE = 0.75  # of what is available
_usual_stack = None  # the limit before set_limits


def continue_in_child(path: str) -> None:
    """Continue in a child process, which has a memory limit and a large stack.

    Call this before TensorFlow is imported; afterwards, or where there is no fork, it does nothing.
    The calling process ends with the exit code of the child or, if a signal ends that, with one
    line that names `path`, the file of a graph, and code 1.
    """
    if 'tensorflow' in sys.modules or not hasattr(os, 'fork'):
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    log = tempfile.TemporaryFile()
    end_with_this = end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # one that is ignored is not sent
    # A signal between the fork and the handler would end this process and leave the child.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDING_SIGNALS, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        end_with_this()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        _hold_log(log)
        set_limits()
        return
    status = _wait(child, blocked)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    print(f'error: {printable(path)}: TensorFlow crashed: {_reason(number, log)}', file=sys.stderr)
    sys.exit(1)


def _wait(child: int, mask: Iterable[int]) -> int:
    """Return the status of `child` when it has ended; until then, hand signals on to it.

    The ending signals and SIGCHLD are blocked; `mask` is how they were before.
    """
    if not hasattr(signal, 'sigwaitinfo'):  # macOS
        on_ending_signals(lambda number, unused_frame: os.kill(child, number))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return os.waitpid(child, 0)[1]
    while True:
        received = signal.sigwaitinfo({*ENDING_SIGNALS, signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        # The second signal ends a process without clean-up.
        elif received.si_signo not in TERMINAL_SIGNALS or received.si_code != SI_KERNEL:
            os.kill(child, received.si_signo)


def set_limits() -> None:
    """Limit the memory of this process, and allow it a large stack."""
    try:
        import resource
    except ImportError:  # not Unix
        return
    global _usual_stack
    _usual_stack = resource.getrlimit(resource.RLIMIT_STACK)
    limits = {resource.RLIMIT_STACK: STACK_BYTES}
    used = machine.proc_bytes('proc/self/status', 'VmData')
    available = machine.available_memory()
    if used is not None and available is not None:
        # Private memory that can be written. RLIMIT_AS would also count what is only reserved.
        limits[resource.RLIMIT_DATA] = used + int(MEMORY_SHARE * available)
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        try:
            resource.setrlimit(name, (value if hard == resource.RLIM_INFINITY
                                      else min(value, hard), hard))
        except (OSError, ValueError):  # a system that refuses: go on without
            pass


@contextlib.contextmanager
def usual_stack() -> Iterator[None]:
    """Context that gives processes that start in it the stack limit from before set_limits.

    With the higher limit, each of their threads would reserve so much, which RLIMIT_DATA counts.
    """
    if _usual_stack is None:
        yield
        return
    import resource
    large = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (_usual_stack[0], large[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, large)


def _hold_log(log: IO[bytes]) -> None:
    """Send what C++ code writes to stderr to `log`, unless the user asks for all of it."""
    if os.environ.get('TF_CPP_MIN_LOG_LEVEL') == '0':
        return
    faulthandler.disable()  # absl enables it; its stack trace would hide the reason
    encoding = sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(console.Descriptor(os.dup(2))), encoding,
                                  'backslashreplace', line_buffering=True)
    os.dup2(log.fileno(), 2)


def _reason(number: int, log: Any) -> str:
    """Return why a signal ended the child: what the log says, or the signal's name."""
    log.seek(0)
    text = log.read()[-65536:].decode('utf-8', 'replace').strip()
    if number == signal.SIGABRT and text:
        check = text.rfind('Check failed: ')  # a stack trace may follow
        line = text[check:].splitlines()[0] if check >= 0 else text.splitlines()[-1]
        return printable(one_line(line, 300))
    hint = ', maybe because memory ran out' if number == signal.SIGKILL else ''
    return f'{signal.Signals(number).name} (signal {number}){hint}'
