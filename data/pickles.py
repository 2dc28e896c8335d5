"""Pickles of arrays, read without running anything that they ask for.

A pickle is a program: loading one the usual way calls whatever it names. The notes' data sets are
pickles and people pass them on, so here only six names are known, and even these do not reach
NumPy: stand-ins take the numbers and the bytes, and build the array from those alone.
"""
import os
import pickle
import re
import struct
from types import SimpleNamespace

import numpy as np

from data.files import DataError

BYTEARRAY8 = 0x96  # opcode of protocol 5
TUPLES = 10000  # a data set takes some thirty
ENTRIES = 100  # in a container that is looked into; a data set has six


def load(file, source):
    """Unpickle arrays of numbers and plain containers, and nothing else.

    file: binary and open, from Python 2 or 3 and NumPy 1 or 2. source: its name in messages.
    Returns what was stored, with NumPy arrays up to two small containers deep.
    Raises DataError that names the first other thing that the pickle asks for; it does not run.
    """
    class Array:
        def __setstate__(self, state):
            _, shape, dtype, fortran, content = state
            self.array = build(content, dtype, shape, 'F' if fortran else 'C')

    class Dtype:
        def __init__(self, code, *_):
            if not re.match('[<>|=]?[biuf][1248]$', code):
                raise DataError('{} holds an array of the type {!r}, not of numbers; store it as '
                                'numbers in an npz'.format(source, code))
            self.dtype = np.dtype(code)

        def __setstate__(self, state):
            self.dtype = self.dtype.newbyteorder(state[1])

    def build(content, dtype, shape, order):
        content = content.encode('latin1') if isinstance(content, str) else content  # Python 2
        return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)

    def array_of(content, dtype, shape, order='C'):
        result = Array()
        result.array = build(content, dtype, shape, order)
        return result

    known = {
        ('numpy', 'ndarray'): lambda *_: Array(),
        ('numpy', 'dtype'): Dtype,
        ('numpy.core.multiarray', '_reconstruct'): lambda *_: Array(),
        ('numpy.core.multiarray', 'scalar'): lambda dtype, content: array_of(content, dtype, ()),
        ('numpy.core.numeric', '_frombuffer'): array_of,
        ('_codecs', 'encode'): lambda text, _: text.encode('latin1'),
    }

    def refuse(what):
        raise DataError('{} asks for {}, which no array needs, and was not run; get the data from '
                        'elsewhere, or as npz'.format(source, what[:80]))

    # The unpickler written in Python: the one in C fills as much memory as a forged index asks for.
    class Unpickler(pickle._Unpickler):
        tuples = 0

        def find_class(self, module, name):
            key = (module.replace('numpy._core', 'numpy.core'), name)  # NumPy 2 moved them
            return known[key] if key in known else refuse(module + '.' + name)

        def get_extension(self, code):
            refuse('extension {}'.format(code))

        def persistent_load(self, pid):
            refuse('the object {!r} from outside of it'.format(pid))

        def load_bytearray8(self):  # the usual one fills as much memory as a forged size asks for
            self.append(bytearray(self.read(struct.unpack('<Q', self.read(8))[0])))

        def count(load):  # a million tuples in each other, as a key, crash Python
            def count_and_load(self):
                self.tuples += 1
                if self.tuples > TUPLES:
                    raise DataError('{} holds more than {} tuples, as no data set does; get the '
                                    'data from elsewhere, or as npz'.format(source, TUPLES))
                load(self)
            return count_and_load

        dispatch = dict(pickle._Unpickler.dispatch)
        dispatch[BYTEARRAY8] = load_bytearray8
        for opcode in pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3:
            dispatch[opcode] = count(dispatch[opcode])

    # A container can hold another one many times over: what is large is not looked into.
    def unwrap(item, depth=2):
        if isinstance(item, Array):
            return item.array
        if depth and isinstance(item, (dict, tuple, list)) and len(item) <= ENTRIES:
            if isinstance(item, dict):
                return {key: unwrap(value, depth - 1) for key, value in item.items()}
            return [unwrap(value, depth - 1) for value in item]
        return item

    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    bounded = SimpleNamespace(readline=file.readline,  # read() takes room for all it is asked for
                              read=lambda count: file.read(min(count, size)))
    return unwrap(Unpickler(bounded, encoding='latin1').load())
