"""Run a command until standard input closes, then end it and everything that it started.

The test process holds the other end of the pipe: however it ends, the command ends with it.
"""
import os
import signal
import subprocess
import sys


def main():
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    while sys.stdin.buffer.read(4096):
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


if __name__ == "__main__":
    main()
