"""What the line of `tracemark.pth` costs outside `tracemark exec`: `idle_cost.py DIR`; one JSON line with the fastest of many, in ms."""
import json
import site
import subprocess
import sys
import time


def fastest(times, work):
    def took():
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(took() for _ in range(times)) * 1000


print(json.dumps({
    "line_ms": fastest(200, lambda: site.addpackage(sys.argv[1], "tracemark.pth", set())),
    "start_ms": fastest(10, lambda: subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)),
}))
