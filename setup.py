"""What pyproject.toml cannot say: the compiled modules of `fabric/core`, and the bundles that browsers load.

Without a compiler for C and C++ they are left out, and the fabric runs on their twins in plain Python:
`fabric --version` says so.
The C and C++ files that Cython writes are of no version of this source: neither committed nor packaged.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CORE = Path("fabric/core")
CPP = ("_retained", "_switch")
"""Modules that hold what C++ has a standard structure for."""


class BuildCompiledPart(build_ext):
    """Builds all or none, and says in one line when it is none."""

    def run(self) -> None:
        super().run()
        built = {each.name: Path(self.get_ext_fullpath(each.name)) for each in self.extensions}
        missing = [name for name, path in built.items() if not path.exists()]
        if missing:
            for path in built.values():
                path.unlink(missing_ok=True)
            print(f"fabric: not compiled: {', '.join(missing)}. It runs on its twins in plain Python, several times")
            print("fabric: slower. With a C++ compiler and the headers of Python, install it again.")


class BuildBundles(build_py):
    """Builds what browsers load before it is packaged, as `pip install '.[web]'` in a clone does.

    Without Node.js the package is made without them, and says so; `fabric gateway` then does not start, and says why.
    A source archive has them in it, and an editable install uses what is in the clone.
    """

    SCRIPT = Path("scripts/build-web")

    def run(self) -> None:
        if self.SCRIPT.exists() and not self.editable_mode and subprocess.run([self.SCRIPT]).returncode:
            print("fabric: without what browsers load: fabric gateway will not start.")
            print("fabric: With Node.js 18 and npm, install it again.")
        super().run()


setup(
    ext_modules=[
        Extension(
            f"fabric.core.{path.stem}",
            [str(path)],
            depends=[str(each) for pattern in ("*.pxd", "*.hpp") for each in sorted(CORE.glob(pattern))],
            language="c++" if path.stem in CPP else "c",
            extra_compile_args=["-O3", "-g0", *(["-std=c++17"] if path.stem in CPP else [])],
            optional=True,
        )
        for path in sorted(CORE.glob("*.pyx"))
    ],
    cmdclass={"build_ext": BuildCompiledPart, "build_py": BuildBundles},
)
