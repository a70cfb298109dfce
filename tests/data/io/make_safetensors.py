#!/usr/bin/env python3
"""Writes the .safetensors files of this folder with the safetensors library (numpy API): what
src/io/checkpoint_test.cpp must read. Values are 1, 2, 3, ... in row-major order.

usage: make_safetensors.py   (needs numpy, safetensors)
"""
import pathlib

import numpy
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
TYPES = "float32 float16 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool".split()


def counted(shape, dtype):
    return (numpy.arange(numpy.prod(shape, dtype=int)) + 1).reshape(shape).astype(dtype)


tensors = {f"t.{name}": counted((2, 3), name) for name in TYPES}
tensors["scalar"] = numpy.array(7, "int32")
tensors["nothing"] = numpy.zeros((0, 4), "float32")
tensors['odd "name"/../\u00e9\n'] = counted((1,), "uint8")
save_file(tensors, HERE / "types.safetensors", metadata={"format": "pt", "by": "safetensors"})
save_file({}, HERE / "empty.safetensors")
