"""What pyproject.toml cannot say of the build: the extension modules in C, and the priors inside the package.

The extensions are optional: where there is no compiler the package is installed without them, and does their work in
numpy instead, with the same results (see combiner_cli/system/native.py).
"""

import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

# one library does for every version of Python from 3.11 on, except those without a global lock
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
# no product is fused with a sum: not that it would change the results, but nobody has to prove that
FLAGS = ["/O2", "/std:c11"] if sys.platform == "win32" else ["-std=c11", "-O3", "-ffp-contract=off"]


class BuildWithPriors(build_py):
    """Puts the priors into the package, beside which they are in a checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("priors", Path(self.build_lib, "combiner_cli", "shipped_priors"), dirs_exist_ok=True)


setup(
    cmdclass={"build_py": BuildWithPriors},
    ext_modules=[
        Extension(
            name,
            [f"{name.replace('.', '/')}.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED else [],
            extra_compile_args=FLAGS,
            py_limited_api=LIMITED,
            optional=True,
        )
        for name in ("combiner_cli.rec._native", "combiner_cli.stages._integer_network")
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
