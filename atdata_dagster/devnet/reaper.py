"""Ends the services when their supervisor is no more; run as a script, with nothing imported.

It leads the process group of the services, so the group's number can't become anybody else's
while it lives. Its standard input is a pipe from the supervisor: whatever ends the supervisor
closes that pipe, even SIGKILL.
"""

import fcntl
import os
import signal
import sys
import time


def main(lock: str, grace: float = 2.0) -> None:
    """Waits for the supervisor's end, then ends the whole process group with itself.

    Args:
        lock: A file to hold locked as long as a service may live, for the next supervisor.
        grace: Seconds the services have to end by themselves when the supervisor died.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(1, b"\n")
    # A byte says that all services were stopped in order: what is left may go at once.
    if not os.read(0, 1):
        os.killpg(0, signal.SIGTERM)
        time.sleep(grace)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
