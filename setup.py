"""The extension list, and nothing else."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [
            Extension(
                "fastreg.fastlane",
                ["ext/fastlane.pyx", "ext/digest.c"],
                include_dirs=["ext"],
                depends=["ext/fastlane.pyx", "ext/digest.h"],
                libraries=["crypto"],
                extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra"],
            )
        ],
        build_dir="build",
        language_level=3,
    )
)
