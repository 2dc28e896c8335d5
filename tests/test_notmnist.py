"""python -m data.notmnist: archives of every kind in, honest splits out."""
import io
import os
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from data import archives, formats, notmnist
from data.formats import KEYS, DataError
from tests.test_formats import make_png

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GENUINE = os.path.join(ROOT, '..', 'shared', 'data', 'notMNIST_small.tar.gz')


def glyphs(count, seed):
    """Images uint8 [count, 28, 28], all different, and labels in turn."""
    images = np.random.RandomState(seed).randint(0, 256, [count, 28, 28]).astype(np.uint8)
    return images, np.arange(count) % 10


def members(name, images, labels):
    return [('{}/{}/{:05d}.png'.format(name, 'ABCDEFGHIJ'[label], number),
             make_png(image, (0, 1, 2)))
            for number, (image, label) in enumerate(zip(images, labels))]


def write_tar(path, entries, mode='w:gz'):
    with tarfile.open(str(path), mode) as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


def write_zip(path, entries):
    with zipfile.ZipFile(str(path), 'w') as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return str(path)


def write_folder(path, entries):
    for name, content in entries:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


def command(*words, **more):
    """Run the command as a reader does; returns (exit code, stdout, stderr)."""
    done = subprocess.run([sys.executable, '-m', 'data.notmnist'] + list(words), cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                          **more)
    return done.returncode, done.stdout, done.stderr


def make(words):
    """Run the command within this process, for its exceptions and its speed."""
    notmnist.main(notmnist.build_parser().parse_args(words))


def as_sets(arrays):
    return [{image.tobytes() for image in arrays[key]} for key in KEYS[::2]]


# ---- the whole command -----------------------------------------------------------------------


def test_both_archives_give_the_splits_of_the_notes(tmp_path, capsys):
    small_images, small_labels = glyphs(60, 1)
    large_images, large_labels = glyphs(260, 2)
    large_images[:20] = small_images[:20]  # ten of each class pair are in both
    large_images[250:] = large_images[240:250]  # and ten twice in the large one
    small = write_tar(tmp_path / 's.tar.gz', members('notMNIST_small', small_images, small_labels))
    large = write_tar(tmp_path / 'l.tar.gz', members('notMNIST_large', large_images, large_labels))
    out = str(tmp_path / 'out.npz')
    make(['--small', small, '--large', large, '--out', out,
          '--train', '200', '--valid', '20', '--test', '40'])
    arrays = formats.read(out)
    train, valid, test = as_sets(arrays)
    assert [len(train), len(valid), len(test)] == [200, 20, 40]  # all distinct, too
    assert not (train & valid or train & test or valid & test)
    assert test <= {image.tobytes() for image in small_images}
    assert not (train | valid) & {image.tobytes() for image in small_images}
    for key, each in zip(KEYS[1::2], (20, 2, 4)):
        assert np.bincount(arrays[key]).tolist() == [each] * 10
        assert not formats.sorted_labels(arrays[key])
    label_of = {image.tobytes(): label for images, labels in (
        (small_images, small_labels), (large_images, large_labels))
        for image, label in zip(images, labels)}
    for split in formats.SPLITS:
        for image, label in zip(arrays[split + '_dataset'], arrays[split + '_labels']):
            assert label_of[image.tobytes()] == label
    said = capsys.readouterr().out
    assert '320 images, 290 distinct: 30 copies left out' in said
    assert '20 images are in both archives' in said
    before = (tmp_path / 'out.npz').read_bytes()
    make(['--small', small, '--large', large, '--out', out,
          '--train', '200', '--valid', '20', '--test', '40'])
    assert (tmp_path / 'out.npz').read_bytes() == before


def test_small_only_through_the_command_line_names_the_unreadable(tmp_path):
    entries = members('notMNIST_small', *glyphs(200, 1))
    entries[7:7] = [('notMNIST_small/A/broken.png', b''), ('notMNIST_small/F/cut.png', b'\x89PNG')]
    small = write_tar(tmp_path / 's.tar.gz', entries)
    out = str(tmp_path / 'out.npz')
    code, said, errors = command('--small-only', '--small', small, '--out', out, '--train', '140',
                                 '--valid', '20')
    assert (code, errors) == (0, '')
    assert '200 images read, 2 unreadable ones skipped' in said
    assert 'notMNIST_small/A/broken.png: empty' in said and 'notMNIST_small/F/cut.png' in said
    assert 'is not the original archive' in said
    arrays = formats.read(out)
    assert [len(arrays[key]) for key in KEYS[::2]] == [140, 20, 40]
    assert len(set.union(*as_sets(arrays))) == 200


def test_a_refusal_ends_the_process_with_code_2():
    code, said, errors = command('--small', '/none.tar.gz')
    assert (code, said) == (2, '') and 'no file /none.tar.gz' in errors
    assert errors.startswith('python -m data.notmnist: ') and errors.count('\n') == 1


def test_too_few_images_are_said(tmp_path):
    small = write_tar(tmp_path / 's.tar', members('s', *glyphs(30, 1)), 'w')
    with pytest.raises(DataError, match='too few distinct images'):
        make(['--small-only', '--small', small, '--out', str(tmp_path / 'o.npz')])
    assert not (tmp_path / 'o.npz').exists()


# ---- archives --------------------------------------------------------------------------------


def read_all(path):
    pixels, labels = bytearray(), []
    bad = archives.read_images(str(path), pixels, labels)
    return np.frombuffer(pixels, np.uint8).reshape([-1, 28, 28]), labels, bad


@pytest.mark.parametrize('kind', ['w', 'w:gz', 'w:bz2', 'zip', 'folder'])
def test_every_kind_of_archive(tmp_path, kind):
    images, labels = glyphs(40, 1)
    entries = sorted(members('x', images, labels))
    path = tmp_path / 'archive'
    (write_zip(path, entries) if kind == 'zip' else write_folder(path, entries)
     if kind == 'folder' else write_tar(path, entries, kind))
    found, found_labels, bad = read_all(path)
    order = np.argsort(labels, kind='mergesort')
    np.testing.assert_array_equal(found, images[order])
    assert found_labels == labels[order].tolist() and not bad


@pytest.mark.skipif(not os.path.exists(GENUINE), reason='needs ../shared/data')
def test_the_genuine_small_archive(tmp_path, capsys):
    make(['--small-only', '--small', GENUINE, '--out', str(tmp_path / 'o.npz')])
    said = capsys.readouterr().out
    assert '18724 images read, 2 unreadable ones skipped' in said
    assert 'A/RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png: empty' in said
    assert 'F/Q3Jvc3NvdmVyIEJvbGRPYmxpcXVlLnR0Zg==.png: empty' in said
    assert '18232 distinct: 492 copies left out' in said
    assert '2 distinct images bear several labels' in said
    arrays = formats.read(str(tmp_path / 'o.npz'))
    assert [len(arrays[key]) for key in KEYS[::2]] == [14000, 2000, 2232]
    assert len(set.union(*as_sets(arrays))) == 18232
    assert set(np.bincount(arrays['valid_labels'])) == {200}
    assert set(np.bincount(arrays['test_labels'])) == {223, 224}


def test_without_archives_and_network_the_way_out_is_said(tmp_path, monkeypatch):
    nowhere = {kind: [('http://127.0.0.1:9/' + kind + '.tar.gz', 9, 'md5', '0')]
               for kind in ('small', 'large')}
    monkeypatch.setattr(notmnist, 'ARCHIVES', nowhere)
    monkeypatch.setattr(notmnist, 'DOWNLOADS', str(tmp_path))
    with pytest.raises(DataError, match='give --small PATH'):
        make(['--out', str(tmp_path / 'o.npz')])
    small = write_tar(tmp_path / 's.tar.gz', members('s', *glyphs(20, 1)))
    with pytest.raises(DataError, match='--large PATH, or go without it by --small-only'):
        make(['--out', str(tmp_path / 'o.npz'), '--small', small])


# ---- splits ----------------------------------------------------------------------------------


def test_deal_balances_and_fills_up():
    labels = np.repeat([0, 1, 2], [50, 50, 5])
    chosen = notmnist.deal(labels, np.arange(105), 45, np.random.RandomState(0))
    assert len(set(chosen)) == 45 and np.bincount(labels[chosen]).tolist() == [20, 20, 5]


def test_an_image_with_several_labels_gets_the_commonest():
    first = np.array([0, 1, 0, 0, 1, 5])
    labels, several = notmnist.commonest_label(np.array([3, 8, 7, 7, 2, 4]), first)
    assert labels.tolist() == [7, 2, 7, 7, 2, 4] and several == 2


def test_near_agrees_with_comparing_all():
    random = np.random.RandomState(0)
    base = random.randint(0, 256, [30, 28, 28])
    noise = random.randint(-12, 13, [300, 28, 28]) * random.rand(300, 1, 1)
    images = np.clip(base[np.arange(300) % 30] + noise, 0, 255).astype(np.uint8)
    pool, held = np.arange(100, 300), np.arange(0, 25)
    differences = np.abs(images[pool][:, None].astype(int) - images[held][None]).mean(axis=(2, 3))
    for bound in (0, 2, 3, 5, 200):
        np.testing.assert_array_equal(notmnist.near(images, pool, held, bound),
                                      differences.min(axis=1) <= bound)


def test_near_duplicates_leave_training_not_test(tmp_path, capsys):
    images, labels = glyphs(200, 1)
    images[100:] = np.clip(images[:100].astype(int) + 1, 0, 255)
    small = write_tar(tmp_path / 's.tar.gz', members('s', images, labels))
    out = str(tmp_path / 'o.npz')
    make(['--small-only', '--small', small, '--out', out, '--near', '--train', '100', '--valid',
          '20', '--test', '40'])
    arrays = formats.read(out)
    stacks = [arrays[key].reshape([-1, 784]).astype(int) for key in KEYS[::2]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(stacks[one][:, None] - stacks[other][None]).mean(axis=2).min() > notmnist.NEAR
    assert len(stacks[1]) == 20 and len(stacks[2]) == 40
    assert 'within 5 of a test image: left out' in capsys.readouterr().out


