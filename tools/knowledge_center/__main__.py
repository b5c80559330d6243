"""`python -m tools.knowledge_center` in the repository, `python .../tools/knowledge_center` from anywhere."""

import pathlib
import sys

if not __package__:                     # started as a folder: make the repository importable
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tools.knowledge_center.cli import main

sys.exit(main())
