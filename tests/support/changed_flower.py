"""`replibatch flower` on a Flower whose templates are elsewhere: python -m tests.support.changed_flower FOLDER."""

from __future__ import annotations

import sys

import flower.urls

from replibatch.cli import main

if __name__ == "__main__":
    flower.urls.settings["template_path"] = sys.argv[1]
    sys.argv[1:] = ["flower"]
    main()
