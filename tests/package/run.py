#!/usr/bin/env python3
"""run.py BUILD_DIR MODEL: installs the built quaver under a fresh prefix, builds the program beside
this file against it by find_package and by pkg-config, runs both, and compiles every public header
alone."""
import os
import pathlib
import subprocess
import sys
import tempfile


def run(*words, **more):
    print("+", *words, flush=True)
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def main():
    build, model = map(os.path.abspath, sys.argv[1:3])
    here = pathlib.Path(__file__).resolve().parent
    compiler = os.environ.get("CXX", "c++")
    with tempfile.TemporaryDirectory() as top:
        prefix = f"{top}/prefix"
        run("cmake", "--install", build, "--prefix", prefix)
        assert "quaver 0" in run(f"{prefix}/bin/quaver", "--version")

        run("cmake", "-S", str(here), "-B", f"{top}/build", f"-DCMAKE_PREFIX_PATH={prefix}",
            "-DCMAKE_BUILD_TYPE=Release")
        run("cmake", "--build", f"{top}/build")
        by_cmake = run(f"{top}/build/package_test", model)

        llama = here.parent / "data/fixtures/llama"
        print(run(f"{top}/build/own_family", str(llama)), end="")

        found = list(pathlib.Path(prefix).glob("lib/**/pkgconfig/quaver.pc"))
        assert len(found) == 1, found
        environment = {**os.environ, "PKG_CONFIG_PATH": str(found[0].parent)}
        flags = run("pkg-config", "--cflags", "--libs", "quaver", env=environment).split()
        run(compiler, "-std=c++20", "-o", f"{top}/by_pc", str(here / "main.cpp"), *flags)
        by_pkg_config = run(f"{top}/by_pc", model)
        assert by_cmake == by_pkg_config, (by_cmake, by_pkg_config)
        flags = run("pkg-config", "--cflags", "--libs", "quaver-extend",
                    env=environment).split()
        run(compiler, "-std=c++20", "-fsyntax-only", str(here / "own_family.cpp"),
            *(flag for flag in flags if flag.startswith(("-I", "-D"))))
        print(by_cmake, end="")

        public = pathlib.Path(f"{prefix}/include/quaver")
        headers = sorted([*public.glob("*.h"), *(public / "extend").glob("*.h")])
        assert headers
        for header in headers:
            run(compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                f"-I{prefix}/include",
                f"-I{public}/extend/internal", "-include", str(header), "-x", "c++", os.devnull)


if __name__ == "__main__":
    main()
