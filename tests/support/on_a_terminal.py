"""Runs a command on a terminal of its own, prints what it printed there, and ends with its exit code.

    python3 on_a_terminal.py COMMAND ARGUMENT…
"""
import os
import pty
import sys

sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
