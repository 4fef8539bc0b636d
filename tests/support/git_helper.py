"""The git-hash of the MLflow version-tracking guide, in the wording of this project.

`get_current_git_hash()` answers what the guide's function of that name answers, in every state
and with every quirk, so that the tests can compare against it and an app can import it.
`python3 git_helper.py` prints the hash; on failure one line `ExceptionName: message` goes to
stderr and the exit code is 1.
"""
import hashlib
import os
import subprocess
import sys

CHUNK = 1 << 20


def git(*arguments):
    """Decoded output of git; universal newlines, strict decoding, as the guide's calls have it."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def file_digest(path):
    """SHA-256 of the raw bytes, or the word that stands for a file that cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                digest.update(chunk)
    except OSError:
        return "unreadable"
    return digest.hexdigest()


def listed_names(status):
    """Names whose content counts.

    The whole text is trimmed first: a blank that starts the first line is lost, and with it the
    first character of that line's name. That is part of the answer.
    """
    for line in status.strip().split("\n"):
        if len(line) >= 3 and not set(line[:2]).isdisjoint("?MA"):
            yield line[3:]


def sections(root):
    """The non-empty parts of the hashed text, in their order."""
    staged = git("diff", "--cached")
    unstaged = git("diff")
    names = listed_names(git("status", "--porcelain", "-uall"))
    lines = sorted(f"{name}:{file_digest(os.path.join(root, name))}" for name in names)
    titled = (("STAGED", staged), ("UNSTAGED", unstaged), ("FILES", "\n".join(lines)))
    return [f"{title}:\n{body}" for title, body in titled if body]


def hash_of_state():
    """HEAD for a clean state, else 32 digits of HEAD and 8 digits over all that differs."""
    root = git("rev-parse", "--show-toplevel").strip()
    head = git("rev-parse", "HEAD").strip()
    if not git("status", "--porcelain").strip():
        return head
    text = head + "\n" + "\n".join(sections(root))
    return f"{head[:32]}-dirty-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def get_current_git_hash():
    """The git-hash of the current directory's repository; RuntimeError when git cannot tell."""
    try:
        return hash_of_state()
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"Git command failed: {error}") from error
    except FileNotFoundError as error:
        raise RuntimeError("Git is not installed or not in PATH") from error


def main():
    """Print the hash; return the exit code."""
    try:
        print(get_current_git_hash())
    except Exception as error:  # any failure is an outcome that a test compares
        message = " ".join(str(error).split())
        sys.stderr.write(f"{type(error).__name__}: {message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
