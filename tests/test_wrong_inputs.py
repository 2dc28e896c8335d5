"""Wrong inputs of every kind: one sentence, an exit code, and everything on the disk as it was."""
import argparse
import gzip
import importlib
import os
import pickle
import shutil
import struct
import sys
import zipfile

import numpy as np
import pytest

import plots  # noqa: F401 (before a test gives up its rights to read matplotlib's files)
import utils
import tensorflow.compat.v1 as tf
from conftest import contents, deadline, no_room, run_here
from data import files, formats
from tests.test_formats import make_arrays, notes, write_pngs
from tests.test_notmnist import glyphs, members, write_tar

LESSONS = ('full_connect', 'sgd', 'relu_nn', 'nn_overfit', 'deep_nn', 'cnn', 'transfer',
           'curve_fit', 'attractor', 'activations')
DATA_COMMANDS = ('letters', 'mnist', 'notmnist')


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a lesson, or `data.NAME` as a data command, in this process: code, stdout, stderr."""
    def run(words):
        with deadline(60):
            if not words[0].startswith('data.'):
                return run_here(words, monkeypatch, capsys)
            module = importlib.import_module(words[0])
            monkeypatch.setattr(sys, 'argv', words)
            monkeypatch.setattr(module, 'fetch', None, raising=False)  # no test of this file asks
            with pytest.raises(SystemExit) as stop:
                files.run(words[0][5:], module.build_parser(), module.main)
            return (stop.value.code,) + tuple(capsys.readouterr())
    return run


@pytest.fixture
def refused(run):
    """Run what must be refused; its sentence. Nothing in the folder may change."""
    def refused(words, folder, *said):
        before = contents(folder)
        code, out, sentence = run(words)
        assert code == 2, sentence
        assert sentence.endswith('\n') and sentence[:-1].isprintable(), sentence  # one line
        assert 'Test accuracy' not in out and 'Traceback' not in out + sentence
        for word in said:
            assert word in sentence
        assert contents(folder) == before
        return sentence
    return refused


# ---- files that are no data sets -------------------------------------------------------------


def spoil(key, change):
    def made(path):
        arrays = make_arrays()
        arrays[key] = change(arrays[key])
        np.savez(str(path), **{name: value for name, value in arrays.items() if value is not None})
    return made


def with_nan(images):
    images = notes(images)
    images[1, 5, 5] = np.nan
    return images


def npy_header(shape, kind='|u1'):
    header = repr({'descr': kind, 'fortran_order': False, 'shape': shape}).encode()
    header += b' ' * (117 - len(header)) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header


def zipped(content):
    def made(path):
        with zipfile.ZipFile(str(path), 'w') as archive:
            archive.writestr('train_dataset.npy', content)
    return made


DATA = {  # how the file is made, words of the sentence
    'not 28x28': (spoil('train_dataset', lambda x: x[:, :20, :20]), ['[n, 28, 28]']),
    'one image': (spoil('valid_dataset', lambda x: x[0]), ['[n, 28, 28]']),
    'a label of ten': (spoil('train_labels', lambda y: y + 1), ['labels run from']),
    'a negative label': (spoil('test_labels', lambda y: y - 1), ['labels run from']),
    'float labels': (spoil('train_labels', lambda y: y * 1.0), ['whole number']),
    'one-hot labels': (spoil('train_labels', lambda y: np.eye(10, dtype=int)[y]), ['whole number']),
    'a single label': (spoil('train_labels', lambda y: y[0]), ['whole number']),
    'lengths': (spoil('valid_labels', lambda y: y[:-1]), ['4 images for 3 labels']),
    'NaN': (spoil('train_dataset', with_nan), ['NaN']),
    'infinite': (spoil('train_dataset', lambda x: with_nan(x) * np.inf), ['NaN or infinite']),
    'empty split': (spoil('test_dataset', lambda x: x[:0]), ['0 images']),
    'text': (spoil('train_labels', lambda y: y.astype(str)), ['not an array of numbers']),
    'objects': (spoil('train_labels', lambda y: y.astype(object)), ['Python objects']),
    'complex': (spoil('train_dataset', lambda x: x * 1j), ['not an array of numbers']),
    'pixels of 300': (spoil('train_dataset', lambda x: x * 2.0), ['pixels run from']),
    'a missing array': (spoil('valid_labels', lambda y: None), ['has no array valid_labels']),
    'other names': (lambda path: np.savez(str(path), a=np.zeros(3)), ['no array train_dataset']),
    'huge header': (zipped(npy_header((10 ** 9, 10 ** 6))), []),
    'negative header': (zipped(npy_header((-5, 28, 28))), []),
    'object header': (zipped(npy_header((3,), '|O') + b'x' * 24), ['Python objects']),
    'no header': (zipped(b'hello'), []),
    'a zip of nothing': (lambda path: zipfile.ZipFile(str(path), 'w').close(), []),
    'archive of images': (lambda path: zipfile.ZipFile(str(path), 'w').writestr('A/a.png', b''),
                          ['data.notmnist']),
    'empty': (lambda path: path.write_bytes(b''), ['is empty']),
    'empty inside gzip': (lambda path: path.write_bytes(gzip.compress(b'')), ['is empty']),
    'text file': (lambda path: path.write_bytes(b'hello'), ['none of the forms']),
    'half a gzip': (lambda path: path.write_bytes(gzip.compress(b'1234' * 999)[:-9]), ['damaged']),
    'wrong idx magic': (lambda path: path.write_bytes(b'\0\0\x0d\3' + b'\0' * 99), ['none of']),
    'lonely idx': (lambda path: path.write_bytes(b'\0\0\x08\3' + b'\0' * 12), ['all four']),
    'a list': (lambda path: path.write_bytes(pickle.dumps([1, 2])), ['holds no data set']),
    'a class': (lambda path: path.write_bytes(pickle.dumps(np.zeros([3, 28, 28]))), ['data set']),
    'a folder': (lambda path: path.mkdir(), ['no readable PNGs']),
    'a named pipe': (lambda path: os.mkfifo(str(path)), ['not an ordinary file']),
    'a link to a device': (lambda path: path.symlink_to('/dev/zero'), ['not an ordinary file']),
    'a link to nothing': (lambda path: path.symlink_to('gone'), ['no file or folder']),
    'a link to itself': (lambda path: path.symlink_to(path), ['no file or folder']),
    'half an npz': (lambda path: half(path), ['damaged or cut off']),
    'an npz with a password': (lambda path: locked(path), ['compressed or encrypted']),
    'one array': (lambda path: np.save(open(str(path), 'wb'), np.zeros(3)), ['none of the forms']),
    'a JPEG': (lambda path: path.write_bytes(b'\xff\xd8\xff\xe0' * 99), ['none of the forms']),
    'a folder of other images': (lambda path: other_images(path), ['a.jpg: not a .png']),
    'an image of each class': (lambda path: write_pngs(path, *glyphs(10, 0)), ['is empty']),
}


def half(path):
    formats.write(str(path), make_arrays())
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def locked(path):
    formats.write(str(path), make_arrays())
    content = path.read_bytes()
    for magic, flags in ((b'PK\1\2', 8), (b'PK\3\4', 6)):  # bit 0: encrypted
        parts = content.split(magic)
        content = magic.join(parts[:1] + [part[:flags - 4] + bytes([part[flags - 4] | 1]) +
                                          part[flags - 3:] for part in parts[1:]])
    path.write_bytes(content)


def other_images(path):
    (path / 'A').mkdir(parents=True)
    (path / 'A' / 'a.jpg').write_bytes(b'\xff\xd8')


@pytest.mark.parametrize('case', sorted(DATA))
def test_wrong_data_are_refused(tmp_path, refused, case):
    make, words = DATA[case]
    make(tmp_path / 'x.npz')
    refused(['sgd.py', '--data', str(tmp_path / 'x.npz')], tmp_path,
            *(words + ['x.npz'] if case != 'lonely idx' else words))


@pytest.mark.parametrize('name', ['', 'nowhere.npz', 'a\nb\x1b[2J.npz', 'x' * 300, '\udcff'])
def test_names_of_no_file_are_refused(tmp_path, refused, name):
    refused(['sgd.py', '--data', name], tmp_path, 'no file or folder')


# ---- flags -----------------------------------------------------------------------------------


def parsers():
    """The parser of each lesson and each data command."""
    found = {}

    class Found(Exception):
        pass

    def find(parser, *_):
        found[name + '.py'] = parser
        raise Found

    usual, argv = argparse.ArgumentParser.parse_args, sys.argv
    argparse.ArgumentParser.parse_args = find
    try:
        for name in LESSONS:
            sys.argv = [name + '.py']
            with pytest.raises(Found):
                importlib.import_module(name).main()
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = usual, argv
    found.update(('data.' + name, importlib.import_module('data.' + name).build_parser())
                 for name in DATA_COMMANDS)
    return found


def every_flag():
    """(command, flag, a value that it cannot take) for each flag that does not take any text."""
    for command, parser in parsers().items():
        for action in parser._actions:
            if not action.option_strings or action.dest == 'help':
                continue
            flag = action.option_strings[0]
            if action.type is utils.folder:
                yield command, flag, 'FILE'
                yield command, flag, 'FILE/below'
            elif action.nargs == 0:
                yield command, flag, None  # a switch
            elif action.type not in (None, str):
                for value in ('x', 'nan', '-1e99', '1e99', '') + (
                        () if command == 'data.notmnist' else ('9' * 400,)):
                    yield command, flag, value
            elif action.choices:
                yield command, flag, 'x'
            else:
                yield command, flag, ()  # any text, but some
    for command in list(parsers()):
        yield command, '--no-such-flag', ()
        if command != 'data.letters':
            yield command, 'word', ()


@pytest.mark.parametrize('command, flag, value', sorted(every_flag(), key=repr))
def test_every_flag_refuses_what_it_cannot_take(tmp_path, refused, command, flag, value):
    (tmp_path / 'FILE').write_bytes(b'precious')
    if isinstance(value, str):
        value = value.replace('FILE', str(tmp_path / 'FILE'))
    words = [flag] if value == () else ['%s=%s' % (flag, 1 if value is None else value)]
    refused([command] + (['fonts'] if command == 'data.letters' else []) + words, tmp_path,
            flag if flag[:2] == '--' else 'unrecognized arguments: word')


FLAGS = [  # beyond the ends of a range; and what does not go together
    ('sgd.py --steps 0', '--steps'), ('sgd.py --steps 1.5', '--steps'),
    ('sgd.py --batch-size 0', '--batch-size'), ('sgd.py --lr -1', '--lr'),
    ('sgd.py --lr 0', '--lr'), ('sgd.py --lr inf', 'at most 3e+38'), ('sgd.py --seed -1', '--seed'),
    ('sgd.py --seed 2147483648', 'at most 2.14748e+09'), ('sgd.py --report-every 0', '--report'),
    ('sgd.py --target-accuracy 101', '--target-accuracy'), ('sgd.py --stddev -1', '--stddev'),
    ('sgd.py --layers 3', '--layers'), ('sgd.py --gpu-memory 0', '--gpu-memory'),
    ('deep_nn.py --layers 1', '--layers'), ('deep_nn.py --layers 65', '--layers'),
    ('deep_nn.py --hidden 0', '--hidden'), ('deep_nn.py --hidden 8193', '--hidden'),
    ('deep_nn.py --l2 -1', '--l2'), ('deep_nn.py --dropout 0', '--dropout'),
    ('deep_nn.py --dropout 1.5', '--dropout'), ('nn_overfit.py --offset-range -1', '--offset'),
    ('cnn.py --keep 0', '--keep'), ('cnn.py --early-stopping -1', '--early-stopping'),
    ('curve_fit.py --terms 13', '--terms'), ('transfer.py --freeze 5', '--freeze'),
    ('attractor.py --layers 11', '--layers'), ('activations.py --steps 0', '--steps'),
    ('data.notmnist --train 0', 'at least 1'), ('data.notmnist --near -1', 'between'),
    ('data.notmnist --near 256', 'between'), ('data.notmnist --seed -1', 'between'),
    ('data.notmnist --seed 4294967296', 'between'),
    ('data.notmnist --small-only --large x', 'exclude'),
    ('data.notmnist --small /none.tar.gz --out {}/new', 'no file /none.tar.gz'),
    ('data.notmnist --small /dev/zero --small-only --out {}/new', 'not an ordinary file'),
    ('data.notmnist --small-only --small {}/small --train 99 --out {}/new', 'too few distinct'),
    ('data.mnist --source /none --out {}/new', 'no file or folder /none'),
    ('data.mnist --source {} --out {}/new', 'no readable PNGs'),
    ('data.letters', 'FONTDIR'), ('data.letters {}/none', 'no folder'),
    ('data.letters {} --out {}/new', 'no font with a full A-J'),
]


@pytest.mark.parametrize('command, said', FLAGS)
def test_values_out_of_range_are_refused(tmp_path, refused, command, said):
    write_tar(tmp_path / 'small', members('s', *glyphs(20, 1)))
    refused([word.replace('{}', str(tmp_path)) for word in command.split()], tmp_path, said)


@pytest.mark.parametrize('words', [['sgd.py', '--steps', 'a\nb\x1b[2J'], ['sgd.py', 'a\nb'],
                                   ['data.notmnist', 'a\nb']])
def test_a_value_of_two_lines_is_still_one_sentence(tmp_path, refused, words):
    refused(words, tmp_path, 'a?b')


@pytest.mark.parametrize('command', ['data.mnist', 'data.notmnist', 'data.letters {}'])
@pytest.mark.parametrize('out', ['', '{}', '{}/none/x.npz', '/dev/null', '/dev/full',
                                 '{}/' + 'x' * 250, '{}/x.npz/x.npz', '{}/pipe'])
def test_what_cannot_be_written_is_refused_before_anything_is_read(tmp_path, refused, command, out,
                                                                   monkeypatch):
    (tmp_path / 'x.npz').write_bytes(b'precious')
    os.mkfifo(str(tmp_path / 'pipe'))
    if (command, out) == ('data.letters {}', ''):
        pytest.skip('is found out at the end')
    devices = [os.stat(path).st_mode for path in ('/dev/null', '/dev/full')]
    words = (command + ' --out').replace('{}', str(tmp_path)).split() + [
        out.replace('{}', str(tmp_path))]
    refused(words, tmp_path, 'cannot be written', '--out')
    assert [os.stat(path).st_mode for path in ('/dev/null', '/dev/full')] == devices


def test_a_link_to_the_data_set_stays_a_link(tmp_path, run):
    write_tar(tmp_path / 'small', members('s', *glyphs(40, 1)))
    (tmp_path / 'far').mkdir()
    (tmp_path / 'x.npz').symlink_to(tmp_path / 'far' / 'x.npz')
    files.write(str(tmp_path / 'x.npz'), make_arrays())
    assert sorted(os.listdir(str(tmp_path))) == ['far', 'small', 'x.npz']
    assert os.listdir(str(tmp_path / 'far')) == ['x.npz']
    assert os.path.islink(str(tmp_path / 'x.npz'))


# ---- checkpoints -----------------------------------------------------------------------------


SHORT = {  # seconds each
    'deep_nn.py': '--layers 2 --hidden 16 --batch-size 32 --schedule constant --steps 3 '
                  '--report-every 2 --checkpoint',
    'cnn.py': '--batch-size 32 --steps 3 --report-every 2 --checkpoint',
    'transfer.py': '--hidden 16 --labels 20 --steps 2 --donor-steps 2 --donor'}


def command(lesson, shapes, folder, more=''):
    return [lesson, '--data', shapes] + SHORT[lesson].split() + [str(folder)] + more.split()


@pytest.fixture(scope='module')
def kept(shapes, tmp_path_factory):
    """A folder with what a short run of each lesson that keeps something has kept."""
    folder, argv = tmp_path_factory.mktemp('kept'), sys.argv
    try:
        for lesson in SHORT:
            sys.argv = command(lesson, shapes, folder / lesson)
            importlib.import_module(lesson[:-3]).main()
    finally:
        sys.argv = argv
    return folder


def save(folder, **values):
    """A checkpoint of these variables."""
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in values.items():
            tf.Variable(value, name=name)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / 'model'), write_meta_graph=False)


def edit(name, change):
    """Change the bytes of the files that a pattern finds; None: remove them."""
    def changed(folder):
        paths = sorted(folder.glob(name))
        assert paths
        for path in paths:
            content = change(path.read_bytes()) if change else None
            path.unlink()
            if change:
                path.write_bytes(content)
    return changed


def empty(folder):
    shutil.rmtree(str(folder))
    folder.mkdir()


def other(**values):
    def made(folder):
        empty(folder)
        save(folder, **values)
    return made


def flip(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


CHECKPOINTS = {  # lesson, what is done to its folder, flags, words of the sentence
    'no flag': ('deep_nn.py', None, '', 'add --resume'),
    'another network': ('deep_nn.py', None, '--resume --layers 3', 'made with --layers 2'),
    'no list': ('deep_nn.py', edit('checkpoint', lambda _: b'\xff\xfe'), '--resume', 'a list of'),
    'nonsense as list': ('deep_nn.py', edit('checkpoint', lambda _: b'hello {'), '--resume',
                         'a list of'),
    'an empty list': ('deep_nn.py', edit('checkpoint', lambda _: b''), '--resume', 'a list of'),
    'files gone': ('deep_nn.py', edit('model*', None), '--resume', 'not the files it names'),
    'values gone': ('deep_nn.py', edit('*.data*', None), '--resume', 'cannot be read'),
    'values cut off': ('deep_nn.py', edit('*.data*', lambda x: x[:50]), '--resume',
                       'cannot be read'),
    'index cut off': ('deep_nn.py', edit('*.index', lambda x: x[:20]), '--resume',
                      'cannot be read'),
    'index empty': ('deep_nn.py', edit('*.index', lambda _: b''), '--resume', 'cannot be read'),
    'a flipped bit': ('deep_nn.py', edit('*.data*', flip), '--resume', 'Checksum'),
    'of another program': ('deep_nn.py', other(weights=[1.0]), '--resume', 'not found'),
    'no JSON': ('deep_nn.py', other(record='hello'), '--resume', 'not made by this lesson'),
    'other JSON': ('deep_nn.py', other(record='[1]'), '--resume', 'not made by this lesson'),
    'a number': ('deep_nn.py', other(record=3), '--resume', 'not made by this lesson'),
    'cnn: no flag': ('cnn.py', None, '', 'add --resume'),
    'cnn: another network': ('cnn.py', None, '--resume --deeper', 'is of another network'),
    'cnn: of another program': ('cnn.py', lambda folder: other(w=[1.0])(folder / 'latest'),
                                '--resume', 'cannot be read as a checkpoint'),
    'cnn: no list': ('cnn.py', edit('latest/checkpoint', lambda _: b'\xff'), '--resume', 'a list'),
    'cnn: no list of the best': ('cnn.py', edit('best/checkpoint', lambda _: b'\xff'), '--resume',
                                 'best'),
    'cnn: best gone': ('cnn.py', edit('best/*', None), '--resume', 'no best checkpoint'),
    'cnn: a flipped bit': ('cnn.py', edit('latest/*.data*', flip), '--resume', 'Checksum'),
    'donor cut off': ('transfer.py', edit('donor.index', lambda x: x[:20]), '', 'cannot be read'),
    'donor: a flipped bit': ('transfer.py', edit('donor.data*', flip), '', 'cannot be read'),
    'donor: no graph': ('transfer.py', edit('donor.meta', lambda _: b'garbage'), '', 'cannot be'),
    'donor: half a graph': ('transfer.py', edit('donor.meta', lambda x: x[:len(x) // 2]), '',
                            'cannot be'),
    'donor: another graph': ('transfer.py', lambda folder: shutil.copy(
        str(folder / 'autoencoder.meta'), str(folder / 'donor.meta')), '', 'cannot be used'),
    'donor of other widths': ('transfer.py', None, '--hidden 32', 'the same --hidden'),
}


@pytest.mark.parametrize('case', sorted(CHECKPOINTS))
def test_wrong_checkpoints_are_refused(tmp_path, kept, shapes, refused, case):
    lesson, change, more, said = CHECKPOINTS[case]
    shutil.copytree(str(kept / lesson), str(tmp_path / 'run'))
    if change:
        change(tmp_path / 'run')
    refused(command(lesson, shapes, tmp_path / 'run', more), tmp_path, said)


# ---- no room ---------------------------------------------------------------------------------


NO_ROOM = {  # command, for --data; what the sentence says
    'plot': (['sgd.py', '--steps', '3', '--batch-size', '32', '--plot', '{}/new'], '--plot'),
    'plot of curves': (['curve_fit.py', '--steps', '10', '--plot', '{}/new'], '--plot'),
    'logdir': (['sgd.py', '--steps', '3', '--batch-size', '32', '--logdir', '{}/new'], '--logdir'),
    'logdir of all': (['deep_nn.py', '--layers', '2', '--hidden', '16', '--steps', '3',
                       '--batch-size', '32', '--logdir', '{}/new'], '--logdir'),
    'checkpoint': (['deep_nn.py', '--layers', '2', '--hidden', '16', '--steps', '3',
                    '--batch-size', '32', '--checkpoint', '{}/new'], 'File too large'),
    'checkpoint of cnn': (['cnn.py', '--steps', '3', '--batch-size', '32', '--checkpoint',
                           '{}/new'], 'File too large'),
    'donor': (['transfer.py', '--hidden', '16', '--labels', '20', '--steps', '2', '--donor-steps',
               '2', '--donor', '{}/new'], 'File too large'),
    'data': (['data.notmnist', '--small-only', '--small', '{}/small', '--train', '20', '--valid',
              '10', '--out', '{}/old.npz'], 'cannot be written (File too large)'),
}


@pytest.mark.parametrize('case', sorted(NO_ROOM))
def test_a_full_disk_is_a_sentence_and_harms_no_file(tmp_path, shapes, run, case):
    words, said = NO_ROOM[case]
    write_tar(tmp_path / 'small', members('s', *glyphs(40, 1)))
    (tmp_path / 'old.npz').write_bytes(b'precious')
    before = contents(tmp_path)
    words = [word.replace('{}', str(tmp_path)) for word in words]
    if words[0] not in ('curve_fit.py', 'data.notmnist'):
        words += ['--data', shapes]
    with no_room(500):
        code, _, sentence = run(words)
    assert code == 2 and sentence[:-1].isprintable() and said in sentence, sentence
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert not any(path.endswith(('.png', '.index', '.meta')) for path in after)
    assert not any('.part' in path for path in after)


def test_a_checkpoint_survives_a_full_disk(tmp_path, kept, shapes, run):
    shutil.copytree(str(kept / 'deep_nn.py'), str(tmp_path / 'run'))
    go_on = command('deep_nn.py', shapes, tmp_path / 'run', '--resume --steps 6')
    before = contents(tmp_path)
    with no_room(500):
        code, _, sentence = run(go_on)
    assert code == 2 and sentence.count('\n') == 1 and 'File too large' in sentence
    assert contents(tmp_path) == before
    code, out, _ = run(go_on)
    assert code == 0 and 'Going on from step 3' in out


@pytest.mark.parametrize('command', ['sgd.py', 'curve_fit.py', 'data.mnist'])
def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path, shapes, command, monkeypatch, capsys):
    argv = {'sgd.py': ['sgd.py', '--data', shapes, '--steps', '2', '--batch-size', '32'],
            'curve_fit.py': ['curve_fit.py', '--steps', '2'],
            'data.mnist': ['data.mnist', '--help']}[command]
    with open('/dev/full', 'w') as full:
        monkeypatch.setattr(sys, 'stdout', full)
        monkeypatch.setattr(sys, 'argv', argv)
        with pytest.raises(SystemExit) as stop:
            if command.startswith('data.'):
                module = importlib.import_module(command)
                monkeypatch.setattr(module, 'main', lambda _: print('done'))
                monkeypatch.setattr(sys, 'argv', argv[:1])
                files.run('mnist', module.build_parser(), module.main)
            else:
                utils.run(importlib.import_module(command[:-3]).main)
    assert stop.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.count('\n') == 1 and 'No space left on device' in sentence


# ---- no permission ---------------------------------------------------------------------------


FORBIDDEN = [  # lesson, flag, folder or file that may not be read or written
    ('sgd.py', '--data', 'secret.npz'), ('sgd.py', '--data', 'secret'),
    ('sgd.py', '--plot', 'fixed'), ('sgd.py', '--plot', 'fixed/new'),
    ('sgd.py', '--logdir', 'fixed'), ('sgd.py', '--logdir', 'fixed/new'),
    ('deep_nn.py', '--checkpoint', 'fixed'), ('cnn.py', '--checkpoint', 'fixed/new'),
    ('transfer.py', '--donor', 'fixed'), ('curve_fit.py', '--plot', 'fixed'),
    ('attractor.py', '--logdir', 'fixed'), ('activations.py', '--plot', 'fixed'),
    ('data.mnist', '--out', 'fixed/x.npz'), ('data.mnist', '--out', 'protected.npz'),
    ('data.mnist', '--source', 'secret'), ('data.notmnist', '--out', 'fixed/x.npz'),
    ('data.notmnist', '--small', 'secret.npz'), ('data.notmnist', '--small', 'secret'),
    ('data.letters', '--out', 'fixed/x.npz')]


@pytest.mark.parametrize('command, flag, name', FORBIDDEN)
def test_what_may_not_be_read_or_written_is_refused(bound, refused, command, flag, name):
    for file in ('secret.npz', 'protected.npz'):
        formats.write(str(bound / file), make_arrays())
    for folder in ('fixed', 'secret'):
        (bound / folder).mkdir()
    (bound / 'fixed' / 'old.npz').write_bytes(b'precious')
    modes = {'secret.npz': 0o000, 'protected.npz': 0o400, 'fixed': 0o500, 'secret': 0o000}
    for path, mode in modes.items():
        (bound / path).chmod(mode)
    words = [command] + ([str(bound)] if command == 'data.letters' else [])
    if flag in ('--source', '--small'):
        words += ['--out', str(bound / 'new.npz')] + ['--small-only'] * (flag == '--small')
    refused(words + [flag, str(bound / name)], bound, name.split('/')[0])
    for path in modes:
        (bound / path).chmod(0o700)


# ---- a target that is missed -----------------------------------------------------------------


@pytest.mark.parametrize('lesson', ['sgd.py', 'deep_nn.py', 'cnn.py'])
def test_a_missed_target_is_exit_code_1_and_no_error(shapes, run, lesson):
    code, out, errors = run([lesson, '--data', shapes, '--steps', '1', '--batch-size', '32',
                             '--target-accuracy', '100'])
    assert (code, errors) == (1, '') and 'Test accuracy' in out
