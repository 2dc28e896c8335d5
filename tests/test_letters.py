"""The built-in letters: what is shipped, and that the command makes it again, byte for byte."""
import collections
import csv
import os
import shutil
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from data import letters
from data.fonts import LETTERS, family_key

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIPPED = os.path.join(ROOT, 'data', 'letters.npz')
FONTS = os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf')
SPLITS = ('train', 'valid', 'test')


def build(*words):
    """Run `python -m data.letters WORDS`; returns the finished process with text streams."""
    return subprocess.run([sys.executable, '-m', 'data.letters'] + [str(word) for word in words],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=300)


@pytest.fixture(scope='module')
def shipped():
    with np.load(SHIPPED) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope='module')
def listed():
    with open(os.path.join(ROOT, 'data', 'letters_fonts.csv'), encoding='utf-8') as file:
        return list(csv.DictReader(file))


# ---- what is shipped -------------------------------------------------------------------------


def test_sizes_and_types(shipped):
    assert os.path.getsize(SHIPPED) <= 16e6
    assert sorted(shipped) == sorted(split + kind for split in SPLITS
                                     for kind in ('_dataset', '_labels'))
    for split in SPLITS:
        images, labels = shipped[split + '_dataset'], shipped[split + '_labels']
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(labels), 28, 28)
        assert images.max(axis=(1, 2)).min() >= 128  # ink in each
    assert len(shipped['train_labels']) >= 36000
    assert min(len(shipped[split + '_labels']) for split in ('valid', 'test')) >= 4000


def test_letters_are_balanced(shipped):
    train = np.bincount(shipped['train_labels'], minlength=10)
    assert train.min() == train.max()
    for split in ('valid', 'test'):  # a sans-serif I is a full square, and that is in training
        counts = np.bincount(shipped[split + '_labels'], minlength=10)
        assert counts.min() >= 0.8 * counts.max()
        assert np.delete(counts, LETTERS.index('I')).min() >= 0.97 * counts.max()


def test_order_is_shuffled(shipped):
    for split in SPLITS:
        labels = shipped[split + '_labels'].astype(int)
        assert 0.05 < (labels[1:] == labels[:-1]).mean() < 0.15


def test_no_image_in_two_splits(shipped):
    images = [{image.tobytes() for image in shipped[split + '_dataset']} for split in SPLITS]
    assert not (images[0] & images[1] or images[0] & images[2] or images[1] & images[2])


def test_no_family_in_two_splits(listed):
    splits = collections.defaultdict(set)
    for row in listed:
        splits[family_key(row['family'])].add(row['split'])
    assert [key for key, found in splits.items() if len(found) > 1] == []


def test_list_accounts_for_every_image(shipped, listed):
    for split in SPLITS:
        rows = [row for row in listed if row['split'] == split]
        assert sum(int(row['images']) for row in rows) == len(shipped[split + '_labels'])
    for row in listed:
        assert row['licence'] and row['package'] and not os.path.isabs(row['file'])
    assert [row['file'] for row in listed] == sorted(row['file'] for row in listed)


# ---- the command -----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def twice(tmp_path_factory):
    """Two builds from the fonts that matplotlib brings: (folder, standard output) of each."""
    folders = [tmp_path_factory.mktemp('build') for _ in range(2)]
    done = [build(FONTS, '--out', folder / 'set.npz', '--sheet', folder / 'sheet.png')
            for folder in folders]
    assert [process.stderr for process in done] == ['', '']
    assert [process.returncode for process in done] == [0, 0]
    return [(folder, process.stdout) for folder, process in zip(folders, done)]


def test_same_fonts_same_bytes(twice):
    for name in ('set.npz', 'set_fonts.csv', 'sheet.png'):
        assert (twice[0][0] / name).read_bytes() == (twice[1][0] / name).read_bytes()
    assert sorted(os.listdir(str(twice[0][0]))) == ['set.npz', 'set_fonts.csv', 'sheet.png']


def test_signs_are_left_out(twice):
    files = (twice[0][0] / 'set_fonts.csv').read_text(encoding='utf-8')
    assert 'DejaVuSans.ttf' in files
    assert 'cmex10' not in files and 'STIXSizOneSymReg' not in files


def test_broken_font_is_counted_and_skipped(twice, tmp_path):
    for name in os.listdir(FONTS):
        shutil.copy(os.path.join(FONTS, name), str(tmp_path))
    (tmp_path / 'broken.ttf').write_bytes(b'not a font')
    done = build(tmp_path, '--out', tmp_path / 'set.npz')
    assert (done.returncode, done.stderr) == (0, '')
    assert '     1 left out: unreadable' in done.stdout
    assert (tmp_path / 'set.npz').read_bytes() == (twice[0][0] / 'set.npz').read_bytes()


@pytest.mark.parametrize('kind, words', [
    ('missing', 'there is no folder'), ('empty', 'no font with a full A-J'),
    ('one', 'too few for three splits'), ('out', 'cannot be written')])
def test_what_is_wrong_is_one_sentence(tmp_path, kind, words):
    folder, out = tmp_path / 'fonts', tmp_path / 'set.npz'
    if kind != 'missing':
        folder.mkdir()
    if kind in ('one', 'out'):
        shutil.copy(os.path.join(FONTS, 'DejaVuSans.ttf'), str(folder))
    if kind == 'out':
        out = tmp_path / 'nowhere' / 'set.npz'
    done = build(folder, '--out', out)
    assert done.returncode == 2 and done.stdout == ''
    assert words in done.stderr and done.stderr.count('\n') == 1
    assert not out.exists() and not (tmp_path / 'set_fonts.csv').exists()


@pytest.mark.parametrize('name, key', [
    ('Montserrat SemiBold Italic', 'montserrat'), ('MontserratThin-Italic', 'montserrat'),
    ('Latin Modern Roman 10', 'latinmodern'), ('AntPoltLtSemiCond', 'antpolt'),
    ('Go', 'go'), ('B612', 'b612')])
def test_family_key(name, key):
    assert family_key(name) == key


def test_an_initial_in_a_frame_is_a_letter():
    """The measure of rule 3 sees letters within frames and black on white, and signs as none."""
    random = np.random.RandomState(0)
    alphabet = random.randint(0, 200, [10, 196])
    frame = np.where(random.rand(196) < 0.3, 255, 0)
    framed = np.maximum(alphabet, frame)
    fonts = [alphabet, np.clip(alphabet + random.randint(-9, 9, [10, 196]), 0, 255), framed,
             255 - alphabet, random.randint(0, 200, [10, 196])]
    agree, ease = letters.agreement(np.array(fonts, np.float32), np.arange(5))
    assert agree[:4].min() >= 9 and agree[4] <= 4 and ease[:4].min() > ease[4]
