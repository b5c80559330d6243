"""What pyproject.toml cannot say: the wheel carries the text of the standard and the conformance suite, which stand
beside the package in the repository, within it (refcodec/standard; refcodec/shipped.py finds them in both places)."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("SPEC.md", "conformance/README.md", "conformance/CONTRACT.md", "conformance/LICENSE",
           "conformance/manifest.json", "conformance/manifest.schema.json", "conformance/coverage.json",
           "conformance/adapters", "conformance/references", "conformance/streams")


class BuildWithSuite(build_py):
    """Copies SHIPPED into the built package; an editable install uses them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        source, target = Path(__file__).parent, Path(self.build_lib) / "refcodec" / "standard"
        shutil.rmtree(target, ignore_errors=True)
        for name in SHIPPED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source / name, target / name)


setup(cmdclass={"build_py": BuildWithSuite})
