"""Files made to do harm, and files with damage: none runs, crashes, hangs or lies."""
import bz2
import collections
import contextlib
import copyreg
import functools
import gzip
import importlib
import lzma
import operator
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import checkpoints
import utils
import tensorflow.compat.v1 as tf
from conftest import deadline
from data import formats
from data.formats import DataError
from tests.test_formats import make_arrays, refused, same, write_idx, write_pngs
from tests.test_notmnist import members, read_all, write_tar, write_zip

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# ---- pickles that call something -------------------------------------------------------------


class Calls:
    """Pickles as a call of `function`, which may be such a call itself, and a state given to it."""
    def __init__(self, function, *arguments, **more):
        self.made = (function, arguments) + tuple(more.get(name) for name in ('state',))

    def __reduce__(self):
        return self.made

    def __call__(self):
        pass


def touch(path):
    open(path, 'w').close()


class Trap:
    """Touches what it is made of or gets as its state."""
    def __new__(cls, path=None):
        if path:
            touch(path)
        return object.__new__(cls)

    def __setstate__(self, state):
        touch(state['path'])


def with_state(mark):
    trap = Trap()
    trap.path = mark
    return trap


def evil_module(mark):
    """The name of a module that touches mark when it is imported."""
    with open(os.path.join(os.path.dirname(mark), 'evil_module.py'), 'w') as file:
        file.write('open({!r}, "w").close()'.format(mark))
    return 'evil_module'


def evil_npy(mark):
    """Path of an array of objects that touches mark when it is loaded with allow_pickle."""
    path = os.path.join(os.path.dirname(mark), 'evil.npy')
    np.save(path, np.array([Calls(touch, mark), None], object), allow_pickle=True)
    return path


def opening(mark):
    return 'open({!r}, "w").close()'.format(mark)


GADGETS = {  # what the sentence names, as a pattern: what touches `mark` when it is loaded as usual
    r'\.system': lambda mark: Calls(os.system, 'touch ' + mark),
    r'\.mkdir': lambda mark: Calls(os.mkdir, mark),
    r'\.Popen': lambda mark: Calls(subprocess.Popen, ['touch', mark]),
    r'\.call': lambda mark: Calls(subprocess.call, ['touch', mark]),
    r'builtin(s|__)\.eval': lambda mark: Calls(eval, opening(mark)),
    r'builtin(s|__)\.exec': lambda mark: Calls(exec, opening(mark)),
    r'\.open': lambda mark: Calls(open, mark, 'w'),
    r'builtin(s|__)\.getattr': lambda mark: Calls(
        Calls(getattr, Calls(__import__, 'os'), 'system'), 'touch ' + mark),
    r'builtin(s|__)\.__import__': lambda mark: Calls(__import__, evil_module(mark)),
    r'importlib\.import_module': lambda mark: Calls(importlib.import_module, evil_module(mark)),
    r'operator\.attrgetter': lambda mark: Calls(
        Calls(Calls(operator.attrgetter, 'system'), Calls(__import__, 'os')), 'touch ' + mark),
    r'functools\.partial': lambda mark: Calls(Calls(functools.partial, os.mkdir, mark)),
    r'builtin(s|__)\.list': lambda mark: Calls(list, Calls(map, os.mkdir, [mark])),
    r'collections\.OrderedDict': lambda mark: Calls(
        collections.OrderedDict, [(1, Calls(touch, mark))]),
    r'copy_?reg\._reconstructor|\.Trap': with_state,  # the first where the protocol is 0 or 1
    r'\.loads': lambda mark: Calls(pickle.loads, pickle.dumps(Calls(touch, mark))),
    r'numpy\.load': lambda mark: Calls(np.load, evil_npy(mark), None, True),
    r'numpy\.save': lambda mark: Calls(np.save, mark, 1),
    r'numpy\.testing\._private\.utils\.runstring': lambda mark: Calls(
        np.testing._private.utils.runstring, opening(mark), {}),
    r'numpy\.f2py\.crackfortran\.myeval': lambda mark: Calls(
        importlib.import_module('numpy.f2py.crackfortran').myeval, opening(mark)),
    r'\.touch': lambda mark: Calls(np.dtype, 'f4', state=Calls(touch, mark)),
    "of the type 'O8'": lambda mark: np.array([Calls(touch, mark), None], object),
    "of the type 'V16'": lambda mark: np.array([(Calls(touch, mark), 1)], 'O,i8'),
}


def trips(content, mark):
    """Whether loading a pickle as usual touches mark; mark is then gone again."""
    with contextlib.suppress(Exception):
        pickle.loads(content)
    for _ in range(200):  # another process may do it
        if os.path.exists(mark):
            os.rmdir(mark) if os.path.isdir(mark) else os.remove(mark)
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The path of a file that only something that runs could make."""
    monkeypatch.setattr(sys, 'path', [str(tmp_path)] + sys.path)
    monkeypatch.delitem(sys.modules, 'evil_module', raising=False)
    return str(tmp_path / 'mark.npy')


@pytest.mark.filterwarnings('ignore:subprocess')
@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('name', sorted(GADGETS))
def test_a_pickle_that_asks_for_more_than_arrays_does_not_run(tmp_path, mark, name, protocol):
    gadget, arrays, path = GADGETS[name](mark), make_arrays(1, 1, 1), tmp_path / 'x.pickle'
    for stored, pack in ((gadget, bytes), (gadget, gzip.compress), (dict(arrays, x=gadget), bytes),
                         (dict([('x', [gadget])], **arrays), bytes), ([(arrays, gadget)], bytes)):
        path.write_bytes(pack(pickle.dumps(stored, protocol)))
        sentence = refused(path, str(path))
        assert re.search('asks for [^ ]*({}), which'.format(name), sentence) or (
            name.startswith('of the type') and name in sentence)
        assert not os.path.exists(mark)
    assert trips(pickle.dumps(gadget, protocol), mark)  # else this proves nothing


def text(string):
    return b'X' + struct.pack('<I', len(string)) + string.encode()


def of(name):
    """The opcode that asks for a global."""
    return b'c' + name.replace(' ', '\n').encode() + b'\n'


HERE = __name__ + ' '
WRITTEN = {  # by hand, with opcodes that pickle no longer writes: (bytes for a mark, what is named)
    'INST': (lambda m: b"(S'touch " + m.encode() + b"'\nios\nsystem\n.", 'os.system'),
    'OBJ': (lambda m: b'(' + of('os system') + text('touch ' + m) + b'o.', 'os.system'),
    'NEWOBJ': (lambda m: b'\x80\x02' + of(HERE + 'Trap') + text(m) + b'\x85\x81.', '.Trap'),
    'NEWOBJ_EX': (lambda m: b'\x80\x04' + of(HERE + 'Trap') + b')}' + text('path') + text(m) +
                  b's\x92.', '.Trap'),
    'copyreg.__newobj__': (lambda m: of('copyreg __newobj__') + b'(' + of(HERE + 'Trap') + text(m) +
                           b'tR.', 'copyreg.__newobj__'),
    'BUILD': (lambda m: b'\x80\x02' + of(HERE + 'Trap') + b')\x81}' + text('path') + text(m) +
              b'sb.', '.Trap'),
    'STACK_GLOBAL with dots': (lambda m: b'\x80\x04' + text('data.files') + text('os.system') +
                               b'\x93(' + text('touch ' + m) + b'tR.', 'data.files.os.system'),
    'a name that begins like a known one': (
        lambda m: b'\x80\x04' + text('numpy') + text('ndarray.__class__.__base__') + b'\x93.',
        'numpy.ndarray.__class__.__base__'),
    'a known name of another module': (
        lambda m: b'\x80\x04' + text('os') + text('_reconstruct') + b'\x93.', 'os._reconstruct'),
    'a name of two lines': (
        lambda m: b'\x80\x04' + text('os\nand') + text('system') + b'\x93.',
        'os?and.system'),
    'a name of a megabyte': (
        lambda m: b'\x80\x04' + text('os') + text('y' * 1000000) + b'\x93.',
        'asks for os.' + 'y' * 77 + ','),
    'EXT1': (lambda m: b'\x80\x02\x82\x7f(' + text('touch ' + m) + b'tR.', 'extension 127'),
    'EXT2': (lambda m: b'\x80\x02\x83\x7f\0(' + text('touch ' + m) + b'tR.', 'extension 127'),
    'EXT4': (lambda m: b'\x80\x02\x84\x7f\0\0\0(' + text('touch ' + m) + b'tR.', 'extension 127'),
    'PERSID': (lambda m: b'(Pevil\n.', "the object 'evil'"),
    'BINPERSID': (lambda m: b'\x80\x02' + text('evil') + b'Q.', "the object 'evil'"),
    'thrown away before a good data set': (
        lambda m: of('os system') + b'(' + text('touch ' + m) + b'tR0' +
        pickle.dumps(make_arrays(), 2), 'os.system'),
}


@pytest.mark.parametrize('name', sorted(WRITTEN))
def test_a_pickle_written_by_hand_does_not_run(tmp_path, mark, name):
    made, named = WRITTEN[name]
    (tmp_path / 'x.pickle').write_bytes(made(mark))
    copyreg.add_extension('os', 'system', 127)
    try:
        for _ in range(2):  # the second time, Python remembers the extension without asking
            assert 'asks for ' in refused(tmp_path / 'x.pickle', named, ', which no array needs')
            assert not os.path.exists(mark)
            if mark.encode() in made(mark):
                assert trips(made(mark), mark)
    finally:
        copyreg.remove_extension('os', 'system', 127)


def test_arrays_of_objects_do_not_run_in_npy_and_npz(tmp_path, mark):
    path = evil_npy(mark)
    refused(path, 'in none of the forms')
    evil = np.array([Calls(touch, mark), None], object)
    np.savez(str(tmp_path / 'x.npz'), **dict(make_arrays(), train_labels=evil))
    refused(tmp_path / 'x.npz', 'Python objects')
    assert not os.path.exists(mark)
    np.load(path, allow_pickle=True)
    assert os.path.exists(mark)
    os.remove(mark)
    with np.load(str(tmp_path / 'x.npz'), allow_pickle=True) as file:
        file['train_labels']
    assert os.path.exists(mark)


def header(text):
    """The start of an .npy with this header."""
    return b'\x93NUMPY\x02\x00' + struct.pack('<I', len(text)) + text


@pytest.mark.parametrize('text', [b'-' * 100000 + b'1', b'(' * 100000, b'1+' * 200000 + b'1'])
@pytest.mark.parametrize('name', ['train_dataset.npy', 'train_dataset'])
def test_a_header_that_python_would_choke_on_is_not_parsed(tmp_path, text, name, capfd):
    with zipfile.ZipFile(str(tmp_path / 'x.npz'), 'w') as archive:
        archive.writestr(name, header(text))
    refused(tmp_path / 'x.npz', 'a header of')
    assert capfd.readouterr().err == ''


# ---- pickles that would fill the memory or never end -----------------------------------------


def forged():
    array = pickle.dumps(np.zeros(4, np.uint8), 2)
    assert array.count(b'X\x02\x00\x00\x00u1') == 1
    deep = b'\x80\x02})' + b'\x85' * 1000000 + b'Ns.'
    return {
        'pointers as objects': array.replace(b'X\x02\x00\x00\x00u1', b'X\x02\x00\x00\x00O8'),
        'two billion elements': array.replace(b'K\x04\x85', b'J\xff\xff\xff\x7f\x85'),
        'minus one element': array.replace(b'K\x04\x85', b'J\xff\xff\xff\xff\x85'),
        'a memo index of 64 GB': b'\x80\x02]r\xff\xff\xff\xff.',
        'a string of 2 ** 56 bytes': b'\x80\x04\x8e' + b'\xff' * 7 + b'\x00abc.',
        'a bytearray of 5 GB': b'\x80\x05\x96' + struct.pack('<Q', 5 << 30) + b'abc.',
        'a frame of 5 GB': b'\x80\x04\x95' + struct.pack('<Q', 5 << 30) + b'abc.',
        'ten thousand million entries': (
            b'\x80\x02](]q\x00(' + b'N' * 100000 + b'e' + b'h\x00' * 100000 + b'e.'),
        'a key of tuples in each other': deep,
        'of other tuples': deep.replace(b'\x85', b'N\x86'),
        'and others': b'\x80\x02}' + b'(' * 30000 + b't' * 30000 + b'Ns.',
        'the state of the stand-in': b"cnumpy\ndtype\n(S'f4'\ntR}S'__setstate__'\nI1\nsb.",
        'the stand-in itself': b"cnumpy\ndtype\n}S'__init__'\nI1\nsb.",
        'marks': b'(' * 1000, 'nothing': b'\x80\x02.', 'half a name': b'c',
        'a protocol to come': b'\x80\x7f.'}


@pytest.mark.parametrize('name', sorted(forged()))
def test_forged_pickles_are_refused_in_little_time_and_memory(tmp_path, name):
    (tmp_path / 'x.pickle').write_bytes(forged()[name])
    tracemalloc.start()
    try:
        with deadline(30):
            refused(tmp_path / 'x.pickle')
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_a_forged_pickle_does_not_change_how_the_next_is_read(tmp_path):
    for name, content in forged().items():
        if 'stand-in' in name:
            (tmp_path / 'x.pickle').write_bytes(content)
            refused(tmp_path / 'x.pickle')
    (tmp_path / 'x.pickle').write_bytes(pickle.dumps(make_arrays(), 2))
    assert same(formats.read(str(tmp_path / 'x.pickle')), make_arrays())


# ---- damage ----------------------------------------------------------------------------------


def mutants(whole, count=220):
    """The bytes with one bit flipped or the end cut off, count times, half of them near the start.

    A fixed seed: the same ones each time.
    """
    random = np.random.RandomState(1)
    for turn in range(count):
        content = bytearray(whole)
        at = random.randint(len(whole) if turn % 2 else min(len(whole), 400))
        if turn % 5:
            content[at] ^= 1 << random.randint(8)
        else:
            del content[at:]
        yield bytes(content)


def mnist_pairs(arrays):
    return tuple(((arrays[split + '_dataset'].reshape([-1, 784]) / 256.0).astype(np.float32),
                  arrays[split + '_labels'].astype(np.int64)) for split in formats.SPLITS)


SETS = {  # form: the file's bytes for six arrays
    'npz': None, 'idx': None, 'idx.gz': None, 'png': None,  # written below
    'pickle': lambda arrays: pickle.dumps(arrays, 2),
    'pickle.gz': lambda arrays: gzip.compress(pickle.dumps(arrays, 2)),
    'pickle.bz2': lambda arrays: bz2.compress(pickle.dumps(arrays, 2)),
    'pickle.xz': lambda arrays: lzma.compress(pickle.dumps(arrays, 2)),
    'mnist.pkl.gz': lambda arrays: gzip.compress(pickle.dumps(mnist_pairs(arrays), 2)),
}


@pytest.mark.parametrize('form', sorted(SETS))
def test_a_damaged_data_set_is_the_same_or_refused(tmp_path, form):
    arrays = make_arrays(10, 2, 2)
    path = source = tmp_path / ('x.' + form)
    if form == 'npz':
        formats.write(str(path), arrays)
    elif form.startswith('idx'):
        write_idx(tmp_path, arrays, packed=form.endswith('gz'))
        path, source = tmp_path / ('train-images-idx3-ubyte' + form[3:]), tmp_path
    elif form == 'png':
        for split in formats.SPLITS:
            write_pngs(tmp_path / split, arrays[split + '_dataset'], arrays[split + '_labels'])
        path, source = tmp_path / 'train' / 'A' / '00000.png', tmp_path
    else:
        path.write_bytes(SETS[form](arrays))
    whole, wanted, refusals = path.read_bytes(), formats.read(str(source)), 0
    for content in mutants(whole):
        path.write_bytes(content)
        try:
            with deadline(10):
                found = formats.read(str(source))
        except DataError as error:
            assert str(error).isprintable()
            refusals += 1
            continue
        if form == 'png' and len(found['train_labels']) == 9:  # one is damaged, skipped and named
            assert ({image.tobytes() for image in found['train_dataset']} <
                    {image.tobytes() for image in wanted['train_dataset']})
            refusals += 1
        elif form not in ('pickle', 'idx'):  # these have no checksum
            assert same(found, wanted)
    assert refusals > 30


@pytest.mark.parametrize('kind', ['tar', 'tar.gz', 'tar.bz2', 'tar.xz', 'zip'])
def test_a_damaged_archive_is_the_same_or_refused_or_names_what_it_lacks(tmp_path, kind):
    random = np.random.RandomState(0)
    images = random.randint(0, 256, [12, 28, 28]).astype(np.uint8)
    entries = members('x', images, np.arange(12) % 10)
    path = str(tmp_path / 'a')
    write_zip(path, entries) if kind == 'zip' else write_tar(
        path, entries, 'w' + kind[3:].replace('.', ':'))
    with open(path, 'rb') as file:
        whole = file.read()
    label_of = {image.tobytes(): label for image, label in zip(images, np.arange(12) % 10)}
    refusals = 0
    for content in mutants(whole):
        with open(path, 'wb') as file:
            file.write(content)
        try:
            with deadline(10):
                found, labels, bad = read_all(path)
        except DataError as error:
            assert str(error).isprintable()
            refusals += 1
            continue
        assert len(found) + len(bad) == 12 and all(line.isprintable() for line in bad)
        assert all(label_of[image.tobytes()] == label for image, label in zip(found, labels))
        refusals += len(bad)
    assert refusals > 30


def test_a_damaged_checkpoint_is_the_same_or_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        tf.Variable(tf.random_normal([20, 10]), name='weights')
        tf.Variable('{"flags": {"layers": 3}}', name='record')
        session.run(tf.global_variables_initializer())
        tf.train.Saver(save_relative_paths=True).save(session, str(tmp_path / 'model'), 5,
                                                      write_meta_graph=False)

    def load():
        path = checkpoints.latest(str(tmp_path))
        return None if path is None else [checkpoints.read(path, name)
                                          for name in ('weights', 'record')]

    weights, record = load()
    assert sorted(os.listdir(str(tmp_path)))[0] == 'checkpoint'
    for name in sorted(os.listdir(str(tmp_path))):
        with open(str(tmp_path / name), 'rb') as file:
            whole = file.read()
        refusals = 0
        for content in mutants(whole):
            (tmp_path / name).write_bytes(content)
            try:
                with deadline(10):
                    found = load()
            except utils.Refused as refusal:
                assert '\n' not in str(refusal)
                refusals += 1
            else:
                np.testing.assert_array_equal(found[0], weights)
                assert found[1] == record
        assert refusals > 30, name
        (tmp_path / name).write_bytes(whole)
