"""The extension list, and nothing else."""

from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [
            Extension(
                "fastreg.fastlane",
                ["ext/fastlane.pyx", *sorted(glob("ext/*.c"))],
                include_dirs=["ext"],
                depends=[*glob("ext/*.pxi"), *glob("ext/*.h")],
                libraries=["crypto"],
                extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra"],
            )
        ],
        build_dir="build",
        language_level=3,
    )
)
