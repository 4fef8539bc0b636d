"""Prints a command block of a document: block.py DOCUMENT BEGINNING, with the document's path from the root of the clone."""
import pathlib
import re
import sys


def block(document, beginning):
    """The one fenced block that begins so."""
    text = (pathlib.Path(__file__).parents[2] / document).read_text()
    found = [body for body in re.findall(r"^```\w*\n(.*?)\n```$", text, re.M | re.S) if body.startswith(beginning)]
    if len(found) != 1:
        raise SystemExit(f"{document} has {len(found)} blocks that begin with {beginning!r}")
    return found[0]


if __name__ == "__main__":
    print(block(sys.argv[1], sys.argv[2]))
