"""`python -m moco_dl`: the command, where its script is not on the path."""

from moco_dl.cli import process

if __name__ == "__main__":
    process()
